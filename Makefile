# Overrides are plain words: make generate pipeline=user_oriented n=20
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := bash
STAGES := databases generate fidelity export convert train eval tables ablation reproduce
# make escapes blanks and backslashes of these words with a backslash and $ with another $; the shell wants them quoted.
given := $(-*-command-variables-*-)
given := $(subst $$$$,$$,$(subst ','\'',$(subst \ ,<blank>,$(subst \\,<backslash>,$(given)))))
overrides := $(if $(given),'$(subst <backslash>,\,$(subst <blank>, ,$(subst $() ,' ',$(given))))')
run = .venv/bin/python -m scripts.launch --goals "$(MAKECMDGOALS)" $@ -- $(overrides)
bench = .venv/bin/python -m scripts.$(subst -,.,$@) $(overrides)
BENCHES := bench-orchestration bench-prefix bench-environment bench-packing bench-tree bench-gpu bench-eval bench-diversity bench-power bench-report

.PHONY: help setup setup-vector fetch $(STAGES) audit figures verify serve-tools soak regrade eval-known gpu-check check test mutants lock docs $(BENCHES) report show status clean

##@ Set-up

help: ## list all targets
	@awk -F ':.*## ' '/^##@ / {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' \
	  $(MAKEFILE_LIST)
	@printf '\n%s\n' "Overrides are Hydra's: make generate pipeline=user_oriented n=20 seed=3 · profile=paper for the paper's scale"

setup: ## build .venv and .venv-bfcl; every other target does it if needed (flash=true: on a GPU also compile flash-attn)
	@scripts/setup.sh $(if $(filter true,$(flash)),flash)

setup-vector: ## add an embedding model, for figures, and what BFCL's memory_vector needs (1.3 GB)
	@scripts/setup.sh vector

fetch: setup ## download models into the hub's cache before a run needs them (model=[openai/gpt-oss-20b,Qwen/Qwen3-0.6B])
	@.venv/bin/python -m scripts.fetch $(overrides)

##@ Runs

report: setup ## write a run and what it was made from into one file for any browser -> outputs/report/ (run=outputs/STAGE/RUN)
	@.venv/bin/python -m scripts.report $(overrides)

show: setup ## page one dialogue in the terminal (run=outputs/generate/… id=DIALOGUE or kind=forbidden; else the first rejected or failed one)
	@.venv/bin/python -m scripts.show $(overrides)

status: setup ## list the runs of all stages: state, age, size, and what each was made from
	@.venv/bin/python -m scripts.status $(overrides)

clean: setup ## say what would be removed of outputs/, and remove it with yes=true (run=outputs/… descendants=true); the environments stay
	@.venv/bin/python -m scripts.clean $(overrides)

##@ Data

databases: setup ## a model writes databases from sentences about domains, code checks and fills them -> outputs/databases/ (n=100 sentences=FILE)
	@$(run)

generate: setup ## generate dialogues with the three pipelines -> outputs/generate/ (plan=true: only say what it takes)
	@$(run)

verify: setup ## replay every accepted dialogue of a run against its recorded state (run=outputs/generate/…)
	@.venv/bin/python -m scripts.verify $(overrides)

serve-tools: setup ## an MCP server whose sessions act in worlds of their own (source=outputs/generate/… task=ID) -> outputs/serve-tools/
	@.venv/bin/python -m scripts.serve_tools $(overrides)

fidelity: setup ## compare generated users with people (reference=dialogues.json) -> outputs/fidelity/ (data=outputs/generate/…)
	@$(run)

export: setup ## deduplicate and decontaminate for publication, with a data card -> outputs/export/ (push_to_hub=organisation/name)
	@$(run)

convert: setup ## convert public data sets to training data (source=apigen|nemotron) -> outputs/convert/
	@$(run)

figures: setup ## Figures 6 to 8: domains, and what the tools of BFCL and of runs are about -> outputs/figures/ (data=[RUN,RUN])
	@.venv/bin/python -m scripts.figures $(overrides)

##@ Training

audit: setup ## which trained tokens have contexts that a server never renders? (data=FILE model=DIRECTORY_OR_HUB_ID) -> outputs/audit/
	@.venv/bin/python -m scripts.audit $(overrides)

train: setup ## fine-tune on the newest dialogues -> outputs/train/ (plan=true: only estimate the cost)
	@$(run)

##@ Evaluation

eval: setup ## score the newest checkpoint on BFCL, τ²-bench and held-out dialogues -> outputs/evaluate/
	@$(run)

tables: setup ## Tables 1 to 4 and Figure 5 next to the paper's numbers -> outputs/tables/
	@$(run)

regrade: setup ## grade recorded trials of an evaluation again, without a model -> its folder regraded/ (run=outputs/evaluate/… only=[tau2])
	@.venv/bin/python -m scripts.regrade $(overrides)

eval-known: $(if $(or $(findstring bfcl,$(only)),$(if $(only),,all)),setup-vector,setup) ## run the benchmarks against servers with known answers -> outputs/known/ (only=[bfcl])
	@.venv/bin/python -m scripts.known $(overrides)

##@ Experiments

ablation: setup ## an experiment over cells and seeds, with a power plan and verdicts (ablation=table_3 plan=true) -> outputs/ablations/
	@$(run)

reproduce: setup ## the experiments behind the paper's tables and figures, and all tables with verdicts -> outputs/ablations/
	@$(run)

##@ Checks

check: setup ## lint, types, import contracts, documentation
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/python -m scripts.docs

test: setup ## run all tests
	@scripts/setup_browser.sh
	@.venv/bin/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 20

gpu-check: setup ## everything that only a GPU can show, in at most seven minutes -> outputs/gpu-check/ (device=cpu tests that it runs)
	@.venv/bin/python -m scripts.bench.gpu_check.run $(overrides)

soak: setup ## kill -9 a generation fifty times and compare its files with an undisturbed run (kills=50 n=400)
	@.venv/bin/python -m scripts.soak $(overrides)

mutants: setup ## change one operator or number of a core module at a time: do its tests notice? -> outputs/mutants/ (sample=10)
	@nice .venv/bin/python -m scripts.mutants $(overrides)

lock: setup ## resolve all transitive versions anew -> requirements/lock-*.txt
	@scripts/lock.sh

docs: setup ## build the documentation site strictly -> outputs/docs/
	@.venv/bin/python -m scripts.docs

##@ Benchmarks, all -> outputs/bench/

bench-orchestration: setup ## how well generation keeps a server busy, and the overhead per request
	@$(bench)

bench-prefix: setup ## share of prompt tokens in the prefix cache of engines (engine=true: measure with vLLM)
	@$(bench)

bench-environment: setup ## forks and tool calls compared with plain SQLite (database=file.sqlite)
	@$(bench)

bench-packing: setup ## fill of packed rows compared with TRL's packing, padding and one tree per row; balance of ranks
	@$(bench)

bench-tree: setup ## training a dialogue as one tree compared with single turns and with all reasoning kept
	@$(bench)

bench-gpu: setup ## bench-tree on a GPU with the paper's model shapes: speed-up, MFU, memory, bf16 gradients (variants=[liger,flex])
	@$(bench)

bench-eval: setup ## BFCL compared with its official command line, τ² with the stock inspect task (in_flight=32 samples=6)
	@$(bench)

bench-diversity: setup ## distinct goals, plans, tools and wordings against the number of dialogues (data=[RUN,RUN] embedding=MODEL)
	@$(bench)

bench-power: setup ## verdicts of ablations on simulated students: planted effects, null effects, the power plan
	@$(bench)

bench-report: setup ## size of a report, time to first paint and of a filter in Chromium (run=outputs/generate/RUN transcripts=5000)
	@$(bench)
