//! Runs the fuzz targets of `fuzz` with the inputs that are kept there. `make endure` finds new ones.

use std::fs;
use std::path::Path;

/// A fuzz target: its name, and what it does with an input.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 6] = [
    ("configuration", crate::config::fuzzing::run),
    ("document", crate::wire::fuzzing::run),
    ("event_stream", crate::client::fuzzing::run),
    ("http_request", crate::api::fuzzing::run),
    ("layout", crate::core::fuzzing::run_layout),
    ("manifest", crate::core::fuzzing::run),
];

#[test]
fn inputs_of_the_fuzz_targets_break_no_property() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, run) in TARGETS {
        let inputs: Vec<_> = fs::read_dir(fuzz.join("corpus").join(name)).unwrap().collect();
        assert!(!inputs.is_empty(), "{name}");
        for input in inputs {
            run(&fs::read(input.unwrap().path()).unwrap());
        }
        assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).exists(), "{name}");
    }
    let targets = fs::read_dir(fuzz.join("fuzz_targets")).unwrap().count();
    assert_eq!(targets, TARGETS.len(), "every target has inputs");
}
