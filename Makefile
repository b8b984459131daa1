# The few commands that a newcomer needs; `make help` lists them. Logic lives in scripts/, not here.

.PHONY: help run build dist test fmt lint tidy deny doc generate bench instructions fuzz

run: ## build and serve, without any configuration
	cargo run --release -p tollgate -- serve

build: ## the release binary: target/release/tollgate
	cargo build --release --locked -p tollgate

dist: ## the binary as it is shipped, built from a run under load: target/shipped/tollgate
	scripts/dist

test: ## everything that must hold before a merge; installs what it needs
	scripts/test

fmt: ## format the sources
	cargo fmt --all

lint: ## the fast part of test: format, clippy, rules of the house
	scripts/test fmt clippy tidy

tidy: ## the rules of the house alone
	scripts/test tidy

deny: ## licences, bans, sources and advisories of all dependencies
	cargo deny --version >/dev/null 2>&1 || cargo install cargo-deny --locked --version 0.20.2
	cargo deny --locked check

doc: ## our own documentation, private items too; broken links are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

generate: ## write the generated files anew
	cargo run -p xtask -- generate

bench: ## load and comparison: see bench/README.md
	bench/run

instructions: ## instruction counts of single steps against their baselines
	scripts/instructions

fuzz: ## ten minutes of each fuzz target: see fuzz/README.md
	scripts/fuzz

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
