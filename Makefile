# Everything there is to do with this project. Python and make are all it needs.

PYTHON ?= python3

# One pair of environments for each interpreter that is asked for by name, so that neither disturbs the other.
suffix := $(patsubst python3,,$(notdir $(PYTHON)))
VENV ?= .venv$(suffix:%=-%)
EMULATORS_VENV ?= .venv-emulators$(suffix:%=-%)
BIN := $(VENV)/bin

export EMULATORS_VENV
export SAM_CLI_TELEMETRY = 0

.DEFAULT_GOAL := help
.PHONY: help install run up down url logs reset deploy-local demo test check format bench load-test lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Install the locked packages (every target does this first)
	@$(PYTHON) infra/install.py $(VENV) $(EMULATORS_VENV)

# --- On this machine -------------------------------------------------------------------------------------------------

run: install ## Start everything, deploy, follow the logs; Ctrl-C stops everything
	@$(BIN)/python -m infra.embedded run

up: install ## The same in the background
	@$(BIN)/python -m infra.embedded up

down: install ## Stop what `up` started
	@$(BIN)/python -m infra.embedded down

url: install ## Print the base URL of the running API
	@$(BIN)/python -m infra.embedded url

logs: install ## Follow the functions' logs
	@$(BIN)/python -m infra.embedded logs

reset: install ## Throw all data away, and start anew what was running
	@$(BIN)/python -m infra.embedded reset

deploy-local: install ## Build and deploy changed code to what is running; data stays
	@$(BIN)/python -m infra.embedded deploy

demo: install ## Walk through the saga by HTTP, each request and response printed
	@$(BIN)/python -m infra.demo

# --- Quality ---------------------------------------------------------------------------------------------------------

test: install ## Run all tests
	@$(BIN)/pytest

check: install ## Check format, lint, types, imports and the template
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cfn-lint template.yaml
	$(BIN)/sam validate --lint --region us-east-1

format: install ## Format the code and apply safe fixes
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: install ## Measure the time from request to final state
	@$(BIN)/python -m tests.benchmarks.bench

load-test: install ## Create orders under load and verify every one of them
	@$(BIN)/python -m tests.benchmarks.load

# --- Housekeeping ----------------------------------------------------------------------------------------------------

compile = $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command 'make lock'
in_lambda = boto3 botocore jmespath python-dateutil s3transfer six urllib3

lock: install ## Resolve the requirements files again; UPGRADE=1 takes the newest versions
	$(compile) $(if $(UPGRADE),--upgrade) requirements-dev.in --output-file requirements-dev.txt
	$(compile) --constraint requirements-dev.txt $(in_lambda:%=--no-emit-package %) \
		layers/dependencies/requirements.in --output-file layers/dependencies/requirements.txt
	$(compile) $(if $(UPGRADE),--upgrade) infra/embedded/requirements.in --output-file infra/embedded/requirements.txt

clean: ## Stop what runs; remove environments, builds and caches
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m infra.embedded down; fi
	rm -rf .venv* .aws-sam .embedded .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
