//! libFuzzer looks for inputs of `fuzz::host`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::host(input));
