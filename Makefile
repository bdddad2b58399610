# The everyday commands; CONTRIBUTING.md tells of them. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup run test one format check docs benchmark serve lock environment
FRACTION ?= 1
GROUPS =
TEST ?= tests

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1	\2/p' $(MAKEFILE_LIST)

setup: environment ## make .venv from the lock, and check before each commit
	hook=$$(git rev-parse --git-path hooks/pre-commit); \
	[ -e "$$hook" ] || { printf '#!/bin/sh\nexec make check\n' > "$$hook" && chmod +x "$$hook"; }

run: ## run the sample study
	bash run_all.sh

test: ## every check and every test
	bash run_tests.sh

one: ## one test: make one TEST=tests/test_prices.py
	bash run_tests.sh $(TEST)

format: ## format code and notebooks
	bash lib/checks.sh --fix

check: ## what must hold before a commit
	bash lib/checks.sh

docs: environment ## make the pages that come from the code, and from the sample study
	$${STUDY_VENV:-.venv}/bin/python -m docs.reference

benchmark: GROUPS = test benchmark
benchmark: environment ## measure everything: make benchmark FRACTION=1/50 is a quick try
	$${STUDY_VENV:-.venv}/bin/python -m benchmarks --fraction $(FRACTION)

serve: ## serve the sample study, and run it first if it has not been
	bash serve.sh sample --run

lock: ## compile pyproject.toml into requirements.lock
	bash lib/lock.sh

environment:
	@bash -c 'BOOTSTRAP_GROUPS="$(GROUPS)"; . lib/bootstrap.sh'
