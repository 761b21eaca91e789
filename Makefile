# All tasks of this project. Python and make are enough. `make help` lists the targets.

PYTHON ?= python3
# Where the stack is: embedded (the local stack), localstack or aws.
TARGET ?= embedded

# One set of environments for each interpreter named in PYTHON, so that they do not disturb each other.
suffix := $(patsubst python3,,$(notdir $(PYTHON)))
VENV ?= .venv$(suffix:%=-%)
EMULATORS_VENV ?= .venv-emulators$(suffix:%=-%)
LOCALSTACK_VENV ?= .venv-localstack$(suffix:%=-%)
bin = "$(VENV)"/bin
python = $(bin)/python

export EMULATORS_VENV TARGET
export SAM_CLI_TELEMETRY = 0
# SAM CLI expands the template's Fn::ForEach only if it is told to.
export SAM_CLI_ENABLE_LANGUAGE_EXTENSIONS = 1
# Settings of the user's environment that would lead Python, pip or uv out of the locked environments.
unexport PYTHONHOME PYTHONPATH PYTHONSAFEPATH PYTHONSTARTUP PYTHONUSERBASE PYTHONPLATLIBDIR VIRTUAL_ENV CONDA_PREFIX
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_VIRTUALENV PIP_PYTHON PIP_DRY_RUN PIP_REQUIREMENT PIP_CONSTRAINT
unexport PIP_NO_BINARY PIP_ONLY_BINARY PIP_IGNORE_INSTALLED PIP_EDITABLE PIP_REPORT PIP_PLATFORM PIP_PYTHON_VERSION
unexport UV_PYTHON UV_SYSTEM_PYTHON UV_TARGET UV_PREFIX UV_CONSTRAINT UV_OVERRIDE UV_NO_BINARY UV_ONLY_BINARY UV_BREAK_SYSTEM_PACKAGES
export PIP_USER = 0
# Without bytecode each command compiles its packages again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: $(shell awk -F : '/^[a-z-]+:/ {print $$1}' Makefile)

help: ## List the targets
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-20s%s\n", $$1, $$2}' Makefile

##@ On this machine

run: install ## Start the local stack, follow its logs, stop it at Ctrl-C
	@$(python) -m infra.local run

up: install ## Start the local stack in the background
	@$(python) -m infra.local up

down: install ## Stop the local stack
	@$(python) -m infra.local down

url: install ## Print the API's base URL; TARGET=localstack or aws
	@$(python) -m infra.local url

logs: install ## Follow the functions' logs from now on; SINCE=10m, TARGET=localstack or aws
	@$(python) -m infra.local logs

reset: install ## Delete all data of the local stack, which keeps running
	@$(python) -m infra.local reset

deploy-local: install ## Build the current source and deploy it to the running stack; data stays
	@$(python) -m infra.local deploy

demo: install ## Walk through the saga by HTTP and print each request and answer
	@$(python) -m infra.local.demo

install: ## Install the locked packages; every target does this first
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo 'Python 3.11 or newer is needed. $(PYTHON) is not. Name another: make PYTHON=python3.12 ...' >&2; exit 1; }
	@"$(PYTHON)" infra/local/install.py "$(VENV)" requirements-dev.txt "$(EMULATORS_VENV)" infra/local/requirements.txt

lab: install ## Serve the console with buttons that kill, delay and stop parts of a stack of its own; LAB_PORT=4576
	@$(python) -m tests.chaos.lab

##@ On call (TARGET=embedded, localstack or aws)

dlq: install ## Show dead letters by reason; QUEUE= lists those of one queue, SHOW=<message id> shows one whole
	@$(python) -m infra.ops dlq

redrive: install ## Send dead letters back: QUEUE=orders-subscriber; MESSAGE=, EDIT=file.json, LIMIT=, DRY_RUN=1
	@$(if $(QUEUE),,$(error QUEUE is needed: make redrive QUEUE=orders-subscriber; `make dlq` lists them))
	@$(python) -m infra.ops redrive

discard: install ## Delete a dead letter after showing it: QUEUE= MESSAGE=<message id>; YES=1 does not ask
	@$(if $(and $(QUEUE),$(MESSAGE)),,$(error QUEUE and MESSAGE are needed; `make dlq QUEUE=...` lists message ids))
	@$(python) -m infra.ops discard

trace: install ## Show a saga as a timeline: ORDER=<id> or CORRELATION=<id>
	@$(python) -m infra.ops trace

stuck: install ## Show orders that are PENDING for longer than OLDER_THAN=60 seconds, and why
	@$(python) -m infra.ops stuck

resume: install ## Republish the last event of stuck sagas; ORDER=<id>: of one order
	@$(python) -m infra.ops resume

rebuild-history: install ## Rebuild the order history view while the system runs; DROP=1 empties it first, with retention PARTIAL=1 too
	@$(python) -m infra.ops rebuild-history

##@ LocalStack, in containers

localstack-up: install-localstack ## Start LocalStack and MongoDB
	@TARGET=localstack $(python) -m infra.local up

localstack-deploy: install-localstack ## Build and deploy to LocalStack; AWS_ENDPOINT_URL names another one
	@TARGET=localstack $(python) -m infra.local deploy
	@echo 'awslocal and localstack are in $(LOCALSTACK_VENV)/bin.'

localstack-test: install-localstack ## Run the end-to-end tests against LocalStack
	@url=$$(TARGET=localstack $(python) -m infra.local url) && E2E_BASE_URL=$$url $(python) -m pytest tests/e2e

localstack-down: install ## Remove the containers and their data
	@TARGET=localstack $(python) -m infra.local down

install-localstack: install # awslocal and LocalStack's command line, in an environment of their own
	@"$(PYTHON)" infra/local/install.py "$(VENV)" requirements-dev.txt "$(LOCALSTACK_VENV)" infra/local/requirements-localstack.txt

##@ SAM CLI, with the functions in containers and the data of TARGET

sam-local: install ## Serve the API with `sam local start-api` on SAM_LOCAL_PORT=3000
	@$(python) -m infra.local.sam_local start-api

sam-local-lambda: install ## Serve the functions with `sam local start-lambda` on SAM_LAMBDA_PORT=3001
	@$(python) -m infra.local.sam_local start-lambda

sam-local-invoke: install ## Invoke a function: FUNCTION=OrdersApiFunction EVENT=events/orders_api_create.json
	@$(if $(and $(FUNCTION),$(EVENT)),,$(error FUNCTION and EVENT are needed: make sam-local-invoke \
		FUNCTION=OrdersApiFunction EVENT=events/orders_api_create.json))
	@$(python) -m infra.local.sam_local invoke "$(FUNCTION)" --event "$(EVENT)"

##@ Quality

test: install ## Run all tests
	@$(python) -m pytest --numprocesses auto --dist loadgroup

test-fast: install ## Run the unit, integration and model tests
	@$(python) -m pytest tests/unit tests/integration tests/model --numprocesses auto

check: install ## Check format, lint (with security rules), types, imports, event schemas and templates
	@failed=; run() { echo "$$*"; "$$@" || failed="$$failed  $$*\n"; }; \
	run $(bin)/ruff format --check; \
	[ -z "$$failed" ] || echo 'Run: make format'; \
	run $(bin)/ruff check; \
	run $(python) -m mypy; \
	run env PYTHONPATH=layers/common $(python) $(bin)/lint-imports; \
	run $(python) -m tests.event_schemas; \
	run $(python) $(bin)/cfn-lint template.yaml infra/*.yaml tests/benchmarks/peers/template.yaml; \
	run $(python) -m samcli validate --lint --region us-east-1; \
	run $(MAKE) --no-print-directory checkov; \
	[ -z "$$failed" ] || { printf "Failed:\n$$failed" >&2; exit 1; }

# In an environment of its own: its pinned packages conflict with the others.
checkov: install ## Check the transformed templates against checkov's policies
	@"$(PYTHON)" infra/local/install.py "$(VENV)" requirements-dev.txt .venv-checkov infra/checkov/requirements.txt
	@PYTHONPATH=layers/common $(python) -W ignore -m tests.checkov .venv-checkov/bin/checkov

release-schemas: install ## Record the fields of the event schemas as released; `make check` refuses later changes
	@$(python) -m tests.event_schemas release

format: install ## Format the code and apply safe fixes
	$(bin)/ruff format
	$(bin)/ruff check --fix

# Asks the package index for known vulnerabilities. An index that cannot answer is an error.
audit-packages: install ## Look for known vulnerabilities in the locked packages
	@$(python) -m pip_audit --strict --disable-pip --require-hashes --progress-spinner off \
		$(foreach lock,requirements-dev.txt infra/local/requirements.txt infra/local/requirements-localstack.txt,-r $(lock))

chaos: install ## Inject faults while orders are created, and audit after each; SHORT=1: a third of the orders, ONLY=text
	@$(python) -m tests.chaos $(if $(SHORT),--short) $(if $(ONLY),--only "$(ONLY)")

model: install ## Explore every interleaving of small worlds and look for seeded bugs; ORDERS=4 (20 minutes), STATES=30000 per world
	@PYTHONPATH=layers/common $(python) -m tests.model model $(if $(ORDERS),--orders $(ORDERS)) $(if $(STATES),--states $(STATES))

simulate: install ## Simulate sagas with random faults; SAGAS=10000, SEED= replays a run
	@PYTHONPATH=layers/common $(python) -m tests.model simulate $(if $(SEED),--seed $(SEED)) $(if $(SAGAS),--sagas $(SAGAS))

mutate: install ## Change the code in small ways that a test must notice, for up to MINUTES=180; MODULE=messaging.relay
	@PYTHONPATH=layers/common $(python) -m tests.mutation $(if $(MODULE),--module $(MODULE)) $(if $(MINUTES),--minutes $(MINUTES))

fuzz: install ## Send requests generated from the OpenAPI document for SECONDS=300 or, instead, EXAMPLES= per operation; SEED=, URL=
	@$(python) -m tests.fuzz $(if $(EXAMPLES),--max-examples $(EXAMPLES),--max-time $(or $(SECONDS),300)) \
		$(if $(SEED),--seed $(SEED)) $(if $(URL),--url $(URL))

##@ Figures

bench: install ## Measure speed, calls and cost beside other designs (10 minutes, writes docs/benchmarks); SHORT=1: counts and growth, ONLY=part
	@PYTHONPATH=layers/common $(python) -m tests.benchmarks.bench $(if $(SHORT),--short) $(if $(ONLY),--only "$(ONLY)")

bench-rebuild: install ## Measure how fast the view is rebuilt; EVENTS=1000,10000,100000
	@PYTHONPATH=layers/common $(python) -m tests.benchmarks.rebuild

costs: install ## Calculate the price on AWS, idle and per million orders
	@$(python) -m tests.benchmarks.costs

load-test: install ## Create orders under load and audit every one of them
	@$(python) -m tests.benchmarks.load

##@ Documents and packages

docs: install openapi ## Build the documentation site in .site and check its links
	@"$(PYTHON)" infra/local/install.py "$(VENV)" requirements-dev.txt .venv-docs infra/docs/requirements.txt
	@.venv-docs/bin/python -m mkdocs --quiet build
	@echo 'Built .site/index.html'

openapi: install ## Write the OpenAPI document from the handlers
	@$(python) -m infra.docs.openapi

# The browser tests of the console leave pictures.
screenshots: install ## Make the documents' pictures of the console and the lab in a browser
	@$(python) -m tests.browser.pictures

compile = $(bin)/uv pip compile --quiet --system-certs --universal --generate-hashes --python-version 3.11 \
	--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)
in_lambda = boto3 botocore jmespath python-dateutil s3transfer six urllib3
layer = $(compile) --constraint requirements-dev.txt $(in_lambda:%=--no-emit-package %)

lock: install ## Compile the requirements files from pyproject.toml; UPGRADE=1 takes the newest versions
	$(compile) --group dev --output-file requirements-dev.txt
	$(layer) --group dependencies --output-file layers/dependencies/DependenciesLayer.txt
	$(layer) --no-emit-package typing-extensions --group api --output-file layers/dependencies/ApiLayer.txt
	$(layer) --group mongodb --output-file layers/dependencies/MongoDbLayer.txt
	$(layer) --group jwt --output-file layers/dependencies/JwtLayer.txt
	$(compile) --group emulators --output-file infra/local/requirements.txt
	$(compile) infra/checkov/requirements.in --output-file infra/checkov/requirements.txt
	$(compile) --group localstack --output-file infra/local/requirements-localstack.txt
	$(compile) --group docs --output-file infra/docs/requirements.txt

clean: ## Stop local stacks; remove environments, builds and caches
	@for instance in .embedded/*/instance.json; do [ ! -e "$$instance" ] || \
		PORT=$$(basename "$$(dirname "$$instance")") $(python) -m infra.local down; done
	rm -rf .venv* .aws-sam .embedded .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
