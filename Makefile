# Thin: each target calls cargo or a script. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
COUNT ?= 1
SEED ?= 1
OUT ?= out/pxe
APPEND ?=
MINUTES ?= 30
HOURS ?= 8
SIM_MINUTES ?= $(shell echo $$(( $(HOURS) * 30 )))
CONNECTIONS ?= 10000
TARGET ?=
PEER ?=
BENCH ?=
ONLY ?=

.PHONY: help setup check binaries unit image demo test first-light console fuzz sim mutations hostile bench bench-kernel clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: ## install what is missing (Debian packages; says what and why)
	scripts/setup.sh

check: ## format, lints, rules of the house
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --locked -p tidy

binaries: ## the release binaries that the image, the lab and the provider tests use
	scripts/binaries.sh

unit: binaries ## tests that need no emulated machine
	@command -v terraform tofu >/dev/null || echo "unit: neither terraform nor tofu is in PATH: the provider's tests that need it are skipped"
	IRONBAYD_BIN=$$(scripts/binaries.sh --print ironbayd) \
		IRONBAY_SKIP_TERRAFORM=$${IRONBAY_SKIP_TERRAFORM-$$(command -v terraform tofu >/dev/null || echo 1)} \
		cargo test --locked --workspace --exclude tidy

image: setup ## the PXE kit: kernel, initramfs, iPXE script, checksums (APPEND="ironbay.insecure=1 ..." OUT=out/pxe)
	cargo run --release --locked -p image -- pxe --out $(OUT) $(foreach argument,$(APPEND),--append $(argument))

demo: setup ## PXE boot, terraform apply, a host writes and reads it back (KEEP=1 leaves it running)
	cargo run --release --locked -p hwtests -- demo $(if $(KEEP),--keep)

first-light: setup ## the first_light scenario (COUNT=10 SEED=1)
	cargo run --release --locked -p hwtests -- run first_light --count $(COUNT) --seed $(SEED)

console: setup ## the serial console scenario
	cargo run --release --locked -p hwtests -- run console

hostile: ## a good host beside hostile connections (CONNECTIONS=10000), in a network namespace of its own
	cargo build --release --locked -p engine --example hostile
	unshare --user --map-root-user --net bash -c \
		'ip link set lo up && exec cargo run --release --locked -q -p engine --example hostile -- $(CONNECTIONS)'

fuzz: ## looks for inputs that break a parser (MINUTES=30 each, TARGET=controller for one of them)
	scripts/fuzz.sh $(MINUTES) $(TARGET)

sim: ## power cuts on simulated drives, new seeds for HOURS=8 (half of it each: pools, thin engine); a failure prints the line that repeats it
	SIM_FIRST=$$(date +%s)000000 SIM_MINUTES=$(SIM_MINUTES) cargo test --release --locked -p pool -p volume --lib -- --nocapture survive

mutations: ## takes one protection of the thin engine away after the other; each must turn a test red (ONLY=name)
	cargo run --locked -q -p tidy --bin mutations -- $(ONLY)

test: setup check unit ## everything: checks, tests, the image built twice, the scenarios
	cargo run --release --locked -p hwtests -- run --seed $(SEED)

bench: ## measure the target (BENCH="--quick --only qd1"; beside others: PEER="name=ADDR:PORT,NQN,PID ...")
	cargo build --release --locked -p ironbayd -p bench
	$${CARGO_TARGET_DIR:-target}/release/ironbay-bench $(foreach peer,$(PEER),--peer $(peer)) $(BENCH)

bench-kernel: setup ## our target beside the kernel's own in an emulated machine: CPU for each command (BENCH="--output json --samples 4")
	cargo run --release --locked -p hwtests -- kernel-bench $(BENCH)

clean: ## remove what was built
	cargo clean
	rm -rf out
