//! See `src/client/fuzzing.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dossierd::client::fuzzing::run(data));
