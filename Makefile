# One task runner for people and CI. `make help` lists the tasks.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test e2e bench fuzz fmt lint doc deny lock clean

# Where rustup puts cargo, for shells that have not been told.
export PATH := $(PATH):$(HOME)/.cargo/bin

target := $(or $(CARGO_TARGET_DIR),target)
# Workspaces of their own; the manifest of each says why.
own_workspaces := benches fuzz interop/ear
# Long enough to replay the seeds and to try some tens of thousands of neighbours.
smoke_seconds := 5

help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build and run a whole network on this machine: make run ARGS='--for 30s --json'
	@scripts/setup.sh run
	@cargo build --release --locked -p nautilus -p nautilus-enclave
	@# make itself ends with 2 whatever the failure; its last line says which code nautilus gave.
	@$(target)/release/nautilus up $(ARGS)

test: ## Check everything as CI does: format, lints, docs, fuzz smoke, all tests and e2e suites
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory lint doc
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --locked check bans licenses sources; \
	else echo 'test: dependency check skipped, cargo-deny is missing: cargo install --locked cargo-deny'; fi
	@scripts/fuzz.sh --all $(smoke_seconds)
	@cargo build --locked -p nautilus-enclave
	@# A test builds this where it is missing; now, it slows no test that waits for something.
	@cargo build --locked --manifest-path interop/ear/Cargo.toml --target-dir $(target)/interop
	@cargo test --locked --workspace --doc
	@if cargo nextest --version >/dev/null 2>&1; then \
	  cargo nextest run --locked --workspace --no-fail-fast; \
	else \
	  cargo test --locked --workspace --lib --bins --tests --no-fail-fast; \
	fi

e2e: ## Run one end-to-end suite: make e2e NAME=up
	@scripts/setup.sh test
	@scripts/e2e.sh '$(NAME)'

bench: ## Run one benchmark: make bench NAME=verify
	@scripts/setup.sh run
	@scripts/bench.sh '$(NAME)'

fuzz: ## Fuzz one target: make fuzz NAME=sgx_quote SECONDS=60
	@scripts/setup.sh test
	@scripts/fuzz.sh '$(NAME)' '$(or $(SECONDS),60)'

fmt: ## Format the Rust files
	@cargo fmt --all
	@for each in $(own_workspaces); do cargo fmt --manifest-path "$$each/Cargo.toml"; done

lint: ## Check format, clippy and the tidy rules
	@cargo fmt --all --check
	@for each in $(own_workspaces); do cargo fmt --manifest-path "$$each/Cargo.toml" --check; done
	@cargo clippy --locked --workspace --all-targets -- -D warnings
	@cargo xtask tidy

doc: ## Build the API documentation, warnings denied
	@RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps

deny: ## Check licences, duplicates, sources and advisories of the dependencies
	@cargo deny --version >/dev/null 2>&1 || { \
	  echo 'deny: cargo-deny is missing: run `cargo install --locked cargo-deny`' >&2; exit 3; }
	@cargo deny --locked check

lock: ## Refresh all lock files after a dependency changed
	@cargo metadata --format-version 1 >/dev/null
	@# What is fuzzed and measured is what ships. What reads our results shares no code with us.
	@cp Cargo.lock fuzz/Cargo.lock
	@cp Cargo.lock benches/Cargo.lock
	@for each in $(own_workspaces); do \
	  cargo metadata --manifest-path "$$each/Cargo.toml" --format-version 1 >/dev/null; \
	done

clean: ## Remove what builds and fuzzing made
	@cargo clean
	@rm -rf $(own_workspaces:%=%/target) fuzz/corpus fuzz/artifacts
