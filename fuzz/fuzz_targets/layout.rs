//! See `src/core/fuzzing.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dossierd::core::fuzzing::run_layout(data));
