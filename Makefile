# Overrides are given plainly: make generate pipeline=user_oriented n=20
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := bash
STAGES := plan generate export convert train eval tables
overrides := $(-*-command-variables-*-)
run = .venv/bin/python -m scripts.launch --goals "$(MAKECMDGOALS)" $@ -- $(overrides)
bench = .venv/bin/python -m scripts.$(subst -,.,$@) $(overrides)
BENCHES := bench-orchestration bench-prefix bench-environment bench-packing bench-tree bench-gpu bench-eval

.PHONY: help setup $(STAGES) verify soak eval-known check test $(BENCHES) clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-20s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Overrides are Hydra's: make generate pipeline=user_oriented n=20 seed=3 · profile=paper for the paper's scale"

setup: ## build .venv and .venv-bfcl (every target does it when needed)
	@scripts/setup.sh

plan: setup ## what a generation would cost: requests, tokens, GPU-hours, disk -> outputs/plan/
	@$(run)

generate: setup ## dialogues of the three pipelines -> outputs/generate/
	@$(run)

export: setup ## deduplicated, decontaminated data with a card -> outputs/export/ (push_to_hub=organisation/name)
	@$(run)

convert: setup ## public data sets as dialogues to train on: source=apigen|nemotron (source.path=…) -> outputs/convert/
	@$(run)

train: setup ## fine-tune on the newest dialogues -> outputs/train/
	@$(run)

eval: setup ## serve the newest checkpoint; BFCL, τ²-bench and held-out scores -> outputs/evaluate/
	@$(run)

tables: setup ## Tables 1 to 4 and Figure 5: ours beside the paper's -> outputs/tables/
	@$(run)

verify: setup ## replay every accepted dialogue of a run against its recorded state (run=outputs/generate/…)
	@.venv/bin/python -m scripts.verify $(overrides)

eval-known: setup ## benchmarks against servers whose answers are known -> outputs/known/ (only=[bfcl])
	@.venv/bin/python -m scripts.known $(overrides)

soak: setup ## kill -9 a generation fifty times and compare its files with an undisturbed one's (kills=50 n=400)
	@.venv/bin/python -m scripts.soak $(overrides)

check: setup ## ruff, mypy strict, import contracts, every config composes
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/pytest tests/scripts/test_conf.py

test: setup ## all tests
	@.venv/bin/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

bench-orchestration: setup ## how busy we keep a server, and what a call costs us -> outputs/bench/
	@$(bench)

bench-prefix: setup ## what engines have cached of our prompts (engine=true asks vLLM) -> outputs/bench/
	@$(bench)

bench-environment: setup ## forks and tool calls beside plain SQLite (database=file.sqlite) -> outputs/bench/
	@$(bench)

bench-tree: setup ## a dialogue trained as one tree, beside single turns and all reasoning kept -> outputs/bench/
	@$(bench)

bench-gpu: setup ## the same on a GPU with the paper's models' shapes: speed-up, MFU, memory, bf16 gradients -> outputs/bench/
	@$(bench)

bench-packing: setup ## how full packed rows are, beside TRL's, padding and one tree a row; how evenly ranks work -> outputs/bench/
	@$(bench)

bench-eval: setup ## BFCL beside the official command line, τ² beside the stock task -> outputs/bench/ (in_flight=32 samples=6)
	@$(bench)

clean: ## remove outputs/ (the environments stay)
	rm -rf outputs
