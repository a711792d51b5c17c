# `make help` lists what there is. Everything installs what it needs, below .venv/ and .venvs/.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

UV_VERSION := 0.13.9
CHECKOV_VERSION := 3.3.30
export PATH := $(CURDIR)/.venvs/uv/bin:$(PATH)
# uv finds a Python 3.13 on the PATH, among its own, or downloads one; it does not look into pyenv.
export UV_PYTHON ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python3.13) 3.13)
export SAM_CLI_TELEMETRY := 0
RUN := .venv/bin/
SAM := .venvs/sam/bin/sam
COGGED := template.yaml templates/monitoring.yaml templates/analysis.yaml templates/latest.yaml templates/columns.yaml README.md docs/grants.md docs/grants-rows.md docs/service-control-policy.md docs/deployer-policy.md docs/deploy.md docs/security.md docs/doctor.md docs/protection.md docs/analysis.md docs/cost.md docs/sam.md

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# --- environments ----------------------------------------------------------------------------------------

UV := .venvs/uv/bin/uv
$(UV):
	@echo "installing uv into .venvs/uv/ (about 65 MB)" >&2
	python3 -m venv .venvs/uv
	.venvs/uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.synced: uv.lock pyproject.toml | $(UV)
	@echo "installing the project into .venv/ (about 400 MB)" >&2
	$(UV) sync --frozen --quiet --extra cli
	@touch $@

.venvs/emulator/.synced: uv.lock | $(UV)
	@echo "installing the emulator into .venvs/emulator/ (about 45 MB)" >&2
	UV_PROJECT_ENVIRONMENT=.venvs/emulator $(UV) sync --frozen --quiet --only-group emulator
	@touch $@

.venvs/sam/.synced: uv.lock | $(UV)
	@echo "installing SAM CLI into .venvs/sam/ (about 100 MB)" >&2
	UV_PROJECT_ENVIRONMENT=.venvs/sam $(UV) sync --frozen --quiet --only-group sam
	@touch $@

.venvs/engine/.synced: uv.lock tests/grants/engine/package-lock.json | $(UV)
	@echo "installing Node and the policy engine into .venvs/engine/ (about 210 MB)" >&2
	UV_PROJECT_ENVIRONMENT=.venvs/engine $(UV) sync --frozen --quiet --only-group engine
	PATH="$(CURDIR)/.venvs/engine/bin:$$PATH" npm ci --prefix tests/grants/engine --no-audit --no-fund --silent
	@touch $@

.venvs/fuzz/.synced: uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=.venvs/fuzz $(UV) sync --frozen --quiet --no-default-groups --group fuzz --extra cli
	@touch $@

.venvs/picture/.synced: uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=.venvs/picture $(UV) sync --frozen --quiet --extra cli --group picture
	@touch $@

# Checkov pins a boto3 of its own, which no lock can hold beside ours.
.venvs/checkov/.synced: tests/template/checkov.txt | $(UV)
	@echo "installing Checkov into .venvs/checkov/ (about 180 MB)" >&2
	$(UV) venv --quiet --clear .venvs/checkov
	$(UV) pip sync --quiet --require-hashes --python .venvs/checkov/bin/python tests/template/checkov.txt
	@touch $@

# What runs the stack on this machine; tests and checks need more.
RUNS := .venv/.synced .venvs/emulator/.synced .venvs/sam/.synced

.PHONY: setup
setup: .venv/.synced .venvs/emulator/.synced .venvs/sam/.synced .venvs/engine/.synced .venvs/checkov/.synced ## install all that the other targets need

# --- see it run ------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(RUNS) ## the whole system on this machine: emulator, deployed template, traffic, reconciliation
	@$(RUN)python -m local.demo

.PHONY: up
up: $(RUNS) ## the same stack, to stay: every command of the docs can be tried on it (docs/tour.md)
	@$(RUN)python -m local.up start

.PHONY: env
env: ## what to export to reach it, for eval (docs/tour.md)
	@$(RUN)python -m local.up env

.PHONY: traffic
traffic: ## COUNT=500 records from Connect to it
	@$(RUN)python -m local.up traffic $(COUNT)

.PHONY: query
query: ## a saved query on what it has delivered: QUERY="Abandoned by queue" ROUTE=orders; without QUERY their names
	@$(RUN)python -m local.query $(if $(QUERY),"$(QUERY)" $(ROUTE))

.PHONY: down
down: ## stop it
	@$(RUN)python -m local.up stop

.PHONY: picture
picture: setup .venvs/picture/.synced ## draw the dashboard from a run on this machine: docs/dashboard.png
	@.venvs/picture/bin/python -m local.picture

.PHONY: invoke
invoke: $(RUNS) ## sam local invoke with EVENT=events/..., judged by its payload
	@$(RUN)python -m local.invoke $(EVENT)

# --- change it -------------------------------------------------------------------------------------------

.PHONY: template
template: .venv/.synced ## write the per-route blocks from src/routing/routes.toml
	$(RUN)ctr-fanout template $(COGGED)

.PHONY: lock
lock: $(UV) ## update uv.lock and what is exported from it
	$(UV) lock
	$(MAKE) src/requirements.txt src/requirements-parquet.txt
	echo checkov==$(CHECKOV_VERSION) | $(UV) pip compile --quiet --no-header --generate-hashes --python-version 3.13 \
		--output-file tests/template/checkov.txt -

src/requirements.txt: uv.lock | $(UV)
	$(UV) export --frozen --quiet --no-default-groups --no-emit-project --output-file $@

src/requirements-parquet.txt: uv.lock | $(UV)
	$(UV) export --frozen --quiet --only-group parquet --output-file $@

.PHONY: format
format: .venv/.synced ## format the code
	$(RUN)ruff format .
	$(RUN)ruff check --fix .

# --- prove it --------------------------------------------------------------------------------------------

.PHONY: check
check: setup ## lint, types, import rules, template, generated blocks, lock
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy
	$(RUN)lint-imports
	$(RUN)shellcheck .ci/run local/*.sh
	$(RUN)ctr-fanout routes check
	$(RUN)ctr-fanout template --check $(COGGED)
	$(RUN)cfn-lint --regions ap-northeast-1 -- template.yaml templates/*.yaml
	$(RUN)python -m local.translate | $(RUN)cfn-lint --regions ap-northeast-1 -- /dev/stdin
	$(SAM) validate --lint --region ap-northeast-1
	$(UV) lock --check --quiet
	$(UV) export --frozen --quiet --no-default-groups --no-emit-project --no-header | diff <(grep -v '^#' src/requirements.txt) -
	$(UV) export --frozen --quiet --only-group parquet --no-header | diff <(grep -v '^#' src/requirements-parquet.txt) -

.PHONY: test
test: setup ## all tests, the deployed function on the emulator among them
	$(RUN)python -m tests

.PHONY: sam
sam: setup ## every command of docs/sam.md as printed, by a SAM CLI without our Makefile; needs a container engine
	$(RUN)python -m pytest -q tests/sam

.PHONY: fuzz
fuzz: .venvs/fuzz/.synced ## a coverage-guided run (TARGET=decode, event, pattern or routes; SECONDS_OF_FUZZING=60)
	PYTHONPATH=.:src .venvs/fuzz/bin/python -m tests.fuzz $(or $(TARGET),decode) $(or $(SECONDS_OF_FUZZING),60)

.PHONY: soak
soak: setup ## load with faults for MINUTES=5, memory and files watched; writes benchmarks/soak.json
	@$(RUN)python -m local.soak $(or $(MINUTES),5)

.PHONY: bench
bench: build ## throughput, memory and imports; writes docs/benchmarks.md and benchmarks/results.json
	$(RUN)python -m benchmarks

# --- deploy it -------------------------------------------------------------------------------------------

.PHONY: build
build: setup ## the Lambda bundle, below .aws-sam/
	$(SAM) build

.PHONY: deploy
deploy: build ## deploy to AWS (ENVIRONMENT=prod REGION=... PARAMETERS="MappingEnabled=false ...", YES=1 asks nothing)
	@$(RUN)python -m local.sam_deploy $(or $(ENVIRONMENT),default) $(PARAMETERS) $(if $(REGION),--region $(REGION)) $(if $(YES),--yes)

.PHONY: clean
clean: ## remove everything that is not committed and can be made again
	rm -rf .venv .venvs tests/grants/engine/node_modules .aws-sam .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
