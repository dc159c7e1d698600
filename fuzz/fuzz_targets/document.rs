//! See `src/wire/fuzzing.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dossierd::wire::fuzzing::run(data));
