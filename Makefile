# The commands of this project, for people and for CI. `make` alone runs the tests.

.PHONY: test lint doc deny bench ci

test:
	cargo test --release

lint:
	cargo fmt --check
	cargo clippy --release --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --locked

# Needs cargo-deny, and the network for the advisories.
deny:
	cargo deny --locked check

bench:
	cargo bench --bench scan

ci:
	bash .ci/run
