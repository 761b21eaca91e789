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
.PHONY: help install run up down url logs reset deploy-local demo dlq redrive discard trace stuck resume rebuild-history
.PHONY: test check format audit screenshots chaos openapi fuzz docs bench bench-rebuild costs load-test lock clean
.PHONY: localstack-up localstack-deploy localstack-test localstack-down sam-local sam-local-lambda sam-local-invoke

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-19s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Install the locked packages (every target does this first)
	@$(PYTHON) infra/local/install.py $(VENV) $(EMULATORS_VENV)

# --- On this machine -------------------------------------------------------------------------------------------------

run: install ## Start everything, deploy, follow the logs; Ctrl-C stops everything
	@$(BIN)/python -m infra.local run

up: install ## The same in the background
	@$(BIN)/python -m infra.local up

down: install ## Stop what `up` started
	@$(BIN)/python -m infra.local down

# Or localstack
TARGET ?= embedded

url: install ## Print the base URL of the running API; TARGET=localstack: of the one there
	@$(BIN)/python -m infra.local url

logs: install ## Follow the functions' logs; TARGET=localstack: of those there
	@$(BIN)/python -m infra.local logs

reset: install ## Throw all data away, and start anew what was running
	@$(BIN)/python -m infra.local reset

deploy-local: install ## Build and deploy changed code to what is running; data stays
	@$(BIN)/python -m infra.local deploy

demo: install ## Walk through the saga by HTTP, each request and response printed
	@$(BIN)/python -m infra.local.demo

# --- Operating it ----------------------------------------------------------------------------------------------------

# On TARGET (embedded, localstack, aws). The commands read their variables from the environment; docs/operate.md has all.

dlq: install ## Show dead letters by reason; QUEUE= lists those of one queue, SHOW=<message id> shows one whole
	@$(BIN)/python -m infra.ops dlq

redrive: install ## Send dead letters back: QUEUE=orders-subscriber; MESSAGE=, EDIT=file.json, LIMIT=, DRY_RUN=1
	@$(if $(QUEUE),,$(error QUEUE is needed: make redrive QUEUE=orders-subscriber; `make dlq` lists them))
	@$(BIN)/python -m infra.ops redrive

discard: install ## Delete a dead letter after showing it: QUEUE= MESSAGE=<message id>; YES=1 does not ask
	@$(if $(and $(QUEUE),$(MESSAGE)),,$(error QUEUE and MESSAGE are needed; `make dlq QUEUE=...` lists message ids))
	@$(BIN)/python -m infra.ops discard

trace: install ## Show a saga as a timeline: ORDER=<id> or CORRELATION=<id>
	@$(BIN)/python -m infra.ops trace

stuck: install ## Show orders that are PENDING for longer than OLDER_THAN=60 seconds, and why
	@$(BIN)/python -m infra.ops stuck

resume: install ## Publish the last event of stuck sagas again; ORDER=<id>: of one order
	@$(BIN)/python -m infra.ops resume

rebuild-history: install ## Rebuild the order history view while the system runs; DROP=1 deletes it first
	@$(BIN)/python -m infra.ops rebuild-history

# --- On LocalStack, in containers ------------------------------------------------------------------------------------

localstack-up: install ## Start LocalStack and MongoDB
	@$(BIN)/python -m infra.local.localstack up

localstack-deploy: install ## Build and deploy to LocalStack, the one at AWS_ENDPOINT_URL if that is set
	@$(BIN)/python -m infra.local.localstack deploy

localstack-test: install ## Run the end-to-end tests against LocalStack
	@url=$$($(BIN)/python -m infra.local.localstack url) && E2E_BASE_URL=$$url $(BIN)/pytest tests/e2e

localstack-down: install ## Remove the containers and their data
	@$(BIN)/python -m infra.local.localstack down

# --- SAM CLI's local mode: the functions in containers, before the stack that runs ------------------------------------

sam-local: install ## Serve the API by `sam local start-api` on SAM_LOCAL_PORT (3000)
	@$(BIN)/python -m infra.local.sam_local start-api

sam-local-lambda: install ## Serve the functions by `sam local start-lambda` on SAM_LAMBDA_PORT (3001)
	@$(BIN)/python -m infra.local.sam_local start-lambda

sam-local-invoke: install ## Invoke one: FUNCTION=OrdersApiFunction EVENT=events/orders_api_create.json
	@$(if $(and $(FUNCTION),$(EVENT)),,$(error FUNCTION and EVENT are needed: make sam-local-invoke \
		FUNCTION=OrdersApiFunction EVENT=events/orders_api_create.json))
	@$(BIN)/python -m infra.local.sam_local invoke $(FUNCTION) --event $(EVENT)

# --- Quality ---------------------------------------------------------------------------------------------------------

test: install ## Run all tests
	@$(BIN)/pytest

# The tests in tests/browser look at it in four ways, and leave what they saw.
screenshots: install ## Make the README's picture of the console anew, from a run in a browser
	@$(BIN)/pytest -q tests/browser -k axe_finds_nothing_serious
	@mkdir -p docs/images && cp tests/browser/artifacts/console-light.png docs/images/console.png

check: install ## Check format, lint (and security), types, imports and the template
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	PYTHONPATH=layers/common $(BIN)/lint-imports
	$(BIN)/cfn-lint template.yaml infra/documentdb.yaml infra/monitoring.yaml tests/benchmarks/peers/template.yaml
	$(BIN)/sam validate --lint --region us-east-1

# Asks the package index for each package's known vulnerabilities; a mirror that cannot tell is an error, not a pass.
audit: install ## Look for known vulnerabilities of the locked packages
	@$(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		$(foreach lock,layers/dependencies/requirements.txt requirements-dev.txt infra/local/requirements.txt,-r $(lock))

chaos: install ## Inject faults while orders are made, and audit after each; SHORT=1: a third as many, ONLY=text
	@$(BIN)/python -m tests.chaos $(if $(SHORT),--short) $(if $(ONLY),--only "$(ONLY)")

fuzz: install ## Send requests made from docs/openapi.json; EXAMPLES=, SECONDS=, SEED=, URL=
	@$(BIN)/python -m tests.fuzz $(if $(EXAMPLES),--examples $(EXAMPLES)) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(URL),--url $(URL))

format: install ## Format the code and apply safe fixes
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

openapi: install ## Write docs/openapi.json anew, from the handlers
	@$(BIN)/python -m infra.docs.openapi

docs: openapi ## Write the documents that are generated from the code

bench: install ## Measure speed, calls and cost beside other designs; SHORT=1: counts and growth, ONLY=part
	@PYTHONPATH=layers/common $(BIN)/python -m tests.benchmarks.bench $(if $(SHORT),--short) $(if $(ONLY),--only "$(ONLY)")

bench-rebuild: install ## Measure how fast the view is rebuilt; EVENTS=1000,10000,100000
	@PYTHONPATH=layers/common $(BIN)/python -m tests.benchmarks.rebuild

costs: install ## Calculate the price on AWS, idle and per million orders
	@$(BIN)/python -m tests.benchmarks.costs

load-test: install ## Create orders under load and audit every one of them
	@$(BIN)/python -m tests.benchmarks.load

# --- Housekeeping ----------------------------------------------------------------------------------------------------

compile = $(BIN)/uv pip compile --quiet --system-certs --universal --generate-hashes --python-version 3.11 --custom-compile-command 'make lock'
in_lambda = boto3 botocore jmespath python-dateutil s3transfer six urllib3

lock: install ## Resolve the requirements files again; UPGRADE=1 takes the newest versions
	$(compile) $(if $(UPGRADE),--upgrade) requirements-dev.in --output-file requirements-dev.txt
	$(compile) --constraint requirements-dev.txt $(in_lambda:%=--no-emit-package %) \
		layers/dependencies/requirements.in --output-file layers/dependencies/requirements.txt
	$(compile) $(if $(UPGRADE),--upgrade) infra/local/requirements.in --output-file infra/local/requirements.txt

clean: ## Stop what runs; remove environments, builds and caches
	@for instance in $(wildcard .embedded/*/instance.json); do \
		$(BIN)/python -m infra.local down --port $$(basename $$(dirname $$instance)); done
	rm -rf .venv* .aws-sam .embedded .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
