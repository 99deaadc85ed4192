//! libFuzzer looks for inputs of `fuzz::nvm`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::nvm(input));
