# The commands of this project, for people and for CI. `make` alone runs the tests.

.PHONY: test endure lint doc deny bench deb install reproducible ci

test:
	cargo test

# What the tests do at random, for hours: ten thousand kills at any moment, half of them during recovery, and whatever
# happens to files for an hour.
endure:
	DOSSIERD_KILLS=10000 DOSSIERD_ENDURE_SECS=3600 cargo test --test it -- --nocapture daemon_crash endure_random

lint:
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

# Needs cargo-deny, and the network for the advisories.
deny:
	cargo deny --locked check

# Figures, of what ships.
bench:
	cargo bench --locked

# A Debian package, without paths of this machine and with no time but the commit's. Needs cargo-deb; it is a build of its
# own, which takes as long as the first one. DEBFULLNAME and DEBEMAIL say who publishes it.
deb install: export CARGO_TARGET_DIR = target/package
deb install: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
# With spaces in a path, too.
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

# The program of the package for this user alone: `cargo install`, out of the same build. ROOT says where to.
install:
	cargo install --locked --path . $(if $(ROOT),--root "$(ROOT)")

# Whether the package is the same when it is built elsewhere.
reproducible:
	bash .ci/reproducible

ci:
	bash .ci/run
