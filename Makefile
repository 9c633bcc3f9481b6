# The cluster that `up` and `e2e` use is KUBECONFIG given as an argument of make, never the one of the environment:
#     make up KUBECONFIG=~/.kube/config
VENV ?= .venv
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := $(VENV)/bin
ARGS ?=
PYTEST_ARGS ?=
MINUTES ?= 60
FUZZ_SECONDS ?= 60

ifeq ($(origin KUBECONFIG),command line)
CLUSTER := --kubeconfig '$(KUBECONFIG)'
E2E_CLUSTER := --kubeconfig '$(KUBECONFIG)'
else
CLUSTER := --simulator
endif
unexport KUBECONFIG

.DEFAULT_GOAL := help
.PHONY: help venv dev up test check check-slow faults soak fuzz mutations e2e bench lock clean

help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  %-12s %s\n' "$$name" "$$text"; done

venv: $(VENV)/.run ## make .venv with the package and what the simulator needs
dev: $(VENV)/.dev ## add the tools for tests and checks to .venv

up: $(VENV)/.run ## start everything here: with the simulator, or with KUBECONFIG=... in front of that cluster
	@exec $(BIN)/cluster-tunnel up $(CLUSTER) $(ARGS)

test: $(VENV)/.dev ## run the unit, integration and kubectl tests
	$(BIN)/pytest -n 3 -m 'not slow' $(PYTEST_ARGS)

check: $(VENV)/.dev ## check format, style, types, import contracts and the shape of the code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/test_shape.py

check-slow: $(VENV)/.dev ## run the tests that take longer than ten seconds
	$(BIN)/pytest -m slow --timeout 3600 $(PYTEST_ARGS)

faults: $(VENV)/.dev ## kill, stop and cut real stubs and agents, and look at what their users notice
	$(BIN)/pytest -n 2 -m 'slow or not slow' --timeout 300 tests/faults tests/integration/election/test_stub_processes.py tests/integration/test_silence.py $(PYTEST_ARGS)

soak: $(VENV)/.dev ## mixed load and random faults for MINUTES=60, every answer checked
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES)

fuzz: $(VENV)/.dev ## search for inputs that break a parser, FUZZ_SECONDS=60 for each; atheris is installed by hand
	$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS) $(ARGS)

mutations: $(VENV)/.dev ## take out each defence in a copy of the tree, and look that its tests fail
	$(BIN)/python -m tests.mutations $(ARGS)

e2e: $(VENV)/.dev ## run the scenarios on the real cluster of KUBECONFIG=...
	@test -n "$(E2E_CLUSTER)" || { echo "make e2e: name the cluster: make e2e KUBECONFIG=FILE" >&2; exit 2; }
	$(BIN)/pytest tests/e2e -n 3 $(E2E_CLUSTER) $(PYTEST_ARGS)

bench: $(VENV)/.dev ## measure speed and memory, and publish the figures in docs
	$(BIN)/python -m tests.bench $(ARGS)

lock: $(VENV)/.dev ## write both lock files anew from pyproject.toml
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --upgrade --extra dev --generate-hashes --strip-extras --no-header \
		--no-emit-index-url --no-emit-find-links --output-file $(VENV)/lock.txt pyproject.toml
	@# The extra `simulator` within `dev` is this project itself, whose line would hold a path of this machine.
	{ echo '# Every package of .[dev], for Python 3.11 to 3.13, with the hashes of its files. Made by `make lock`; not edited by hand.'; \
		awk '/^cluster-tunnel @/ {own = 1; next} own && /^ / {next} /^# WARNING/ {skip = 1} {own = 0} /^[^#]/ {skip = 0} !skip' $(VENV)/lock.txt; } > requirements.lock
	$(BIN)/pip-compile --quiet --upgrade --only-build-deps --build-deps-for wheel --generate-hashes --strip-extras --no-header \
		--no-emit-index-url --no-emit-find-links --output-file $(VENV)/lock-build.txt pyproject.toml
	{ echo '# What makes the wheel of this project, with the hashes of its files. Made by `make lock`; not edited by hand.'; \
		cat $(VENV)/lock-build.txt; } > requirements-build.lock

clean: ## remove .venv, caches and what was built; .cluster-tunnel, which holds keys, stays
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are newer than what they were made from, or are made again. Without --no-compile a third of the installation would be
# byte code of kubernetes-asyncio's 2 600 files, of which most are never imported.
$(VENV)/.run: pyproject.toml requirements.lock
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer with its venv module is needed and was not found" \
		"(Debian, Ubuntu: apt install python3-venv); name one by PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/\1/p' requirements.lock > $(VENV)/versions.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c $(VENV)/versions.txt -e '.[simulator]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c $(VENV)/versions.txt -e '.[dev]'
	@touch $@
