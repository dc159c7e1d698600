//! See `src/api/fuzzing.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dossierd::api::fuzzing::run(data));
