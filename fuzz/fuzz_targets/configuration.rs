//! See `src/config/fuzzing.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dossierd::config::fuzzing::run(data));
