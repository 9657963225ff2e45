# Everything a newcomer needs is two commands: `make demo` and `make test`. Both set the rest up.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.set-up

.PHONY: help setup demo test coverage check fmt bench bench-redaction eval-secrets eval-injection eval-spotlighting surfaces fuzz protos docs

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv with the command line and every tool in it
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --upgrade --progress-bar on pip
	$(BIN)/python -m pip install --progress-bar on -e '.[dev]'
	@touch $(STAMP)

demo: setup ## a real Envoy, a real small model, ten exchanges and a table (KEEP=1 leaves it up)
	$(BIN)/sluicegate demo $(if $(KEEP),--keep)

test: setup ## every test; the ones that need Envoy start it
	$(BIN)/python -m pytest -n auto --dist loadfile

coverage: setup ## the tests once more, twice as slow: which branches they take, 95 % at the least
	$(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report=term:skip-covered

check: setup ## ruff, mypy, layers, policies, and Envoy's own opinion of every file in envoy/static
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sluicegate check --strict policies/*.yaml
	for file in envoy/static/*.yaml; do $(BIN)/envoy --mode validate --log-level error -c $$file || exit 1; done

fmt: setup ## format the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: setup ## what a request and an event cost, as CPU time
	$(BIN)/python -m tests.bench

bench-redaction: setup ## what redaction costs and holds back, beside its goals
	$(BIN)/python -m tests.bench.redaction

eval-secrets: setup ## what the secrets pack finds and what it takes for one, on the development corpora
	$(BIN)/python -m tests.eval.secrets

eval-injection: setup ## what the injection detector finds, disguised and in other languages, and what it costs
	$(BIN)/python -m tests.eval.injection

eval-spotlighting: setup ## what marks on untrusted text do to attacks on a small model, on the development corpus
	$(BIN)/python -m tests.eval.spotlighting $(MODELS)

surfaces: setup ## what becomes of a secret and of an injection in every place of every API; writes docs/surfaces.md
	$(BIN)/python -m tests.surfaces --write

fuzz: setup ## damaged requests and answers for every dialect, so long each: make fuzz MINUTES=10 ONLY=openai.chat
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),1) $(if $(ONLY),--only $(ONLY))

protos: setup ## generate the protobuf messages from protos/
	bash protos/generate.sh

docs: setup ## generate what is made of other files: what documents quote from the code, compiled rules
	$(BIN)/python docs/generate.py
