# The commands of this project, for people and for CI. `make` alone runs the tests.

.PHONY: test endure lint doc deny bench compare integrations deb install reproducible ci

test:
	cargo test

# The random tests, for hours: a million simulated histories, ten thousand kills at any moment, half of them during
# recovery, an hour of random file operations and faults, and half an hour of fuzzing (.ci/fuzz, needs cargo-fuzz).
endure:
	DOSSIERD_SIMULATIONS=1000000 cargo test --lib -- --nocapture engine::simulation::explore::tests::histories_of_random_seeds_end_in_the_state_of_a_fresh_scan
	DOSSIERD_KILLS=10000 DOSSIERD_ENDURE_SECS=3600 cargo test --test it -- --nocapture daemon::crash faults::random_operations
	bash .ci/fuzz

# Formatting, lints, words (tests/prose.rs) and spelling. Needs typos: `cargo install typos-cli` or `pip install typos`.
lint:
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo test --locked --quiet --test prose --test architecture
	typos

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

# Needs cargo-deny, and network access for the advisories.
deny:
	cargo deny --locked check

# All benchmarks, with the release profile.
bench:
	cargo bench --locked

# Compares the speed of the working tree with that of the commit BASE: `make compare BASE=main`. PROFILE=dev builds faster
# and is less exact.
compare:
	bash .ci/compare

# The plugin in the real Claude Code, against a stub of its API, and the extension in the real spec-kit. Needs npm, Python 3.11,
# and network access.
integrations:
	cargo build --locked
	python3 tests/claude-code target/debug/dossierd
	python3 tests/spec-kit-extension target/debug/dossierd

# A reproducible Debian package: no paths of this machine, and only the commit's time. Needs cargo-deb. It uses a target
# directory of its own, so the first build takes minutes. DEBFULLNAME and DEBEMAIL name the publisher.
deb install: export CARGO_TARGET_DIR = target/package
deb install: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
# The unit separator lets paths contain spaces.
UNIT := $(shell printf '\037')
deb install: export CARGO_ENCODED_RUSTFLAGS = --remap-path-prefix=$(CURDIR)=dossierd$(UNIT)--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=cargo
deb:
	cargo build --release --locked
	target/package/release/dossierd man --dir target/package/man
	for shell in bash zsh fish; do \
	    target/package/release/dossierd completions $$shell >target/package/dossierd.$$shell || exit 1; \
	done
	cargo deb --no-build --locked --output target/package/ $(if $(DEBEMAIL),--maintainer "$(DEBFULLNAME) <$(DEBEMAIL)>")
	@ls -l target/package/*.deb target/package/release/dossierd

# Installs the program for this user: `cargo install`, from the same build as the package. ROOT names another place.
install:
	cargo install --locked --path . $(if $(ROOT),--root "$(ROOT)")

# Checks that the package is identical when it is built in another directory.
reproducible:
	bash .ci/reproducible

ci:
	bash .ci/run
