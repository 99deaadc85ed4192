//! libFuzzer looks for inputs of `fuzz::connect`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::connect(input));
