//! libFuzzer looks for inputs of `fuzz::controller`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::controller(input));
