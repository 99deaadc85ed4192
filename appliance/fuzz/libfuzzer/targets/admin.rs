//! libFuzzer looks for inputs of `fuzz::admin`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::admin(input));
