# Every target installs what it needs first; `make help` lists them. V=1 shows the commands.
SHELL := /bin/sh
ARCH := $(shell uname -m | sed 's/x86_64/x64/;s/aarch64/arm64/')
PINNED := node_modules/node-linux-$(ARCH)
NODE := $(CURDIR)/$(PINNED)/bin/node
BIN := $(CURDIR)/node_modules/.bin
Q := $(if $(V),,@)
# The pinned Node before any other, for tools whose first line asks for `node`.
export PATH := $(CURDIR)/$(PINNED)/bin:$(BIN):$(PATH)
ADDON := native/build/Release/culvert.node
BPF := bpf/build/.built
CNI := native/cni/build/culvert-cni
KEEPER := native/keeper/build/culvert-keeper

.PHONY: help build demo demo-down test test-unit test-netns test-kernels test-kube conformance bench bench-control soak-restarts soak-flips soak-bytes soak-requests image lint format gen check-gen asan clean distclean packages
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

build: node_modules/.installed $(ADDON) $(BPF) $(CNI) $(KEEPER) ## install dependencies, compile addon, BPF programs, CNI plugin and keeper

node_modules/.installed: package-lock.json
	@echo "installing npm packages (with the pinned Node)"
	$(Q)npm ci --no-audit --no-fund --loglevel=error >/dev/null
	$(Q)sh native/packages.sh node
	$(Q)test -x $(NODE) || { echo "no pinned Node for $(ARCH): npm left out $(PINNED)" >&2; exit 69; }
	@echo "building the test runner without its TypeScript loader: Node does that itself"
	$(Q)tap build >/dev/null
	@touch $@

packages: ## install the system packages that building needs
	$(Q)sh native/packages.sh build

$(ADDON): node_modules/.installed native/binding.gyp $(wildcard native/src/*) bpf/culvert.h
	$(Q)sh native/packages.sh build
	@echo "compiling the addon"
	$(Q)node-gyp rebuild --directory native --nodedir=$(CURDIR)/$(PINNED) --loglevel=warn >native-build.log 2>&1 || { tail -n 40 native-build.log >&2; rm -f native-build.log; exit 1; }
	@rm -f native-build.log; touch $@

$(BPF): $(wildcard bpf/*.c) $(wildcard bpf/*.h) bpf/Makefile
	$(Q)sh native/packages.sh build
	@echo "compiling the BPF programs"
	$(Q)$(MAKE) -s --no-print-directory -C bpf
	@touch $@

$(CNI): $(wildcard native/cni/*.c) $(wildcard native/cni/*.h) native/cni/Makefile
	$(Q)sh native/packages.sh build
	@echo "compiling the CNI plugin"
	$(Q)$(MAKE) -s --no-print-directory -C native/cni

$(KEEPER): $(wildcard native/keeper/*.c) $(wildcard native/keeper/*.h) native/cni/json.c native/cni/json.h native/keeper/Makefile
	$(Q)sh native/packages.sh build
	@echo "compiling the keeper"
	$(Q)$(MAKE) -s --no-print-directory -C native/keeper

demo: build ## two nodes and their pods on this machine, real programs, one report (KEEP=1 leaves it up)
	$(Q)sh native/packages.sh lab
	$(Q)$(NODE) test/lab/demo.ts $(if $(KEEP),--keep)

demo-down: build ## take down what `make demo KEEP=1` left
	$(Q)$(NODE) test/lab/demo.ts --down

test: build lint check-gen ## all tests that can run here
	$(Q)sh native/packages.sh lab
	$(Q)sh native/packages.sh kernels
	$(Q)sh native/packages.sh kube
	$(Q)$(NODE) test/run.ts

test-unit: build ## no kernel features and no root needed
	$(Q)$(NODE) test/run.ts unit direct

test-netns: build ## real BPF and real namespaces (root)
	$(Q)sh native/packages.sh lab
	$(Q)$(NODE) test/run.ts netns

test-kernels: build ## other kernels under emulation (root)
	$(Q)sh native/packages.sh kernels
	$(Q)$(NODE) test/run.ts kernels

test-kube: build ## a Kubernetes of two nodes on this machine, with the mesh in it (root, Go)
	$(Q)sh native/packages.sh kube
	$(Q)$(NODE) test/run.ts kube

soak-restarts: build ## agents replaced 200 times and killed 50 times under load: who noticed (root)
	$(Q)sh native/packages.sh lab
	$(Q)$(NODE) bench/soak-restarts.ts

soak-flips: build ## a policy flipped 1 000 times under load: what still arrives (root)
	$(Q)sh native/packages.sh lab
	$(Q)$(NODE) bench/soak-flips.ts

soak-bytes: build ## bytes over joined sockets for an hour while agents and policies change: what was wrong (root)
	$(Q)sh native/packages.sh lab
	$(Q)$(NODE) bench/soak-bytes.ts

soak-requests: build ## a million requests of all kinds through a waypoint: what was wrong, and what grew (root)
	$(Q)sh native/packages.sh lab
	$(Q)$(NODE) bench/soak-requests.ts

conformance: build ## all mesh tests of the conformance suite of Gateway API, ten times (root, Go; RUNS=n)
	$(Q)sh native/packages.sh kube
	$(Q)$(NODE) test/kube/conform.ts --runs $(or $(RUNS),10) --report docs/conformance-report.yaml

image: build ## one image for all processes, with or without a container engine, and its bill of materials
	$(Q)$(NODE) daemonset/image/make.ts

bench: build ## what the mesh costs: a table, plots, and what got worse since the last release (BENCH_HELP=1)
	$(Q)sh native/packages.sh lab
	$(Q)$(NODE) bench/run.ts

bench-control: build ## the control plane with a thousand agents, into bench/results-control.json
	$(Q)$(NODE) bench/control.ts

lint: node_modules/.installed ## types, lint rules, import directions, formatting
	$(Q)tsc --noEmit -p .
	$(Q)oxlint --type-aware --deny-warnings
	$(Q)oxfmt --check .

format: node_modules/.installed ## format everything in place
	$(Q)oxfmt --write .

gen: node_modules/.installed ## write generated files (crds/, the manifests of daemonset/)
	$(Q)$(NODE) crds/generate.ts
	$(Q)$(NODE) daemonset/generate.ts

check-gen: node_modules/.installed ## whether generated files are what `make gen` writes
	$(Q)$(NODE) crds/generate.ts --check
	$(Q)$(NODE) daemonset/generate.ts --check

asan: build ## the addon's tests under AddressSanitizer
	$(Q)sh native/asan.sh

clean: ## remove what was compiled
	rm -rf native/build native/build-asan native/cni/build native/keeper/build bpf/build bench/build daemonset/image/build

distclean: clean ## and the dependencies
	rm -rf node_modules
