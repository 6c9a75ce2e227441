# Antipode. 'make demo' and 'make test' install what is missing on a fresh Debian or Ubuntu.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: model model-soak policy-soak build demo demo-processes test lint fmt bench crash soak fuzz clean install-tools

# Fuzzing time of each target of 'make fuzz', and benchmark time of 'make bench'.
FUZZTIME ?= 10s
BENCHTIME ?= 1s

build: ## bin/antipode and the backend plugins in bin/plugins/
	@ci/install.sh demo
	@ci/build.sh

demo: build ## two Regions on real tokens; a key made in one, used in both
	@scripts/demo.sh

demo-processes: build ## the same between two processes with users, tokens and stores of their own
	@scripts/demo-processes.sh

test: ## the whole test suite
	@ci/install.sh test
	@ci/test.sh

lint: ## the linters, built from source at their pinned version
	@ci/install.sh lint
	@ci/lint.sh

fmt: ## formats the Go files in place
	@ci/install.sh lint
	@"$$(ci/tools.sh golangci-lint)" fmt

bench: build ## benchmarks
	@BENCHTIME=$(BENCHTIME) ci/bench.sh

crash: ## every crash point, and 1,000 replications between two Regions under random kills
	@ci/install.sh test
	@ANTIPODE_EVERY_CRASH=1 ci/test.sh -v -run TestCrashPoints ./ci/crash
	@ANTIPODE_KILL_LOOP=1000 ci/test.sh -v -run TestKillLoop ./ci/crash

soak: ## every fault of an exchange, 300 random schedules of one, and 100,000 random steps of three and five Regions
	@ci/install.sh test
	@ANTIPODE_EVERY_FAULT=1 ANTIPODE_SCHEDULES=300 ci/test.sh -v -run 'TestFaults|TestSchedules' ./replication
	@ANTIPODE_SIMULATION_STEPS=100000 ANTIPODE_SEED=$$(date +%s) TEST_TIMEOUT=3h ci/test.sh -v -run 'TestSimulation$$' ./replication/simtest

model: ## the coordination of a key as a model, searched exhaustively (docs/model)
	@ci/install.sh model
	@ci/model.sh

model-soak: ## the same with more shared changes; up to 12 GB of memory
	@ci/install.sh model
	@ci/model.sh -DSEQUENCES=4

policy-soak: ## a million random policies and requests, decided as the slow reference evaluator decides them
	@ci/install.sh test
	@ANTIPODE_POLICIES=1000000 go test -v -timeout 2h -run TestAgreesWithReference ./regions/policy

fuzz: ## every Fuzz function for FUZZTIME
	@ci/install.sh demo
	@FUZZTIME=$(FUZZTIME) ci/fuzz.sh

install-tools: ## all that build, test and lint need
	@ci/install.sh test
	@ci/install.sh lint

clean:
	rm -rf bin build ci/clients/node_modules
