# make demo   train, compile, run on the golden model and in Verilator, compare, draw
# make test   every test
# make help   the rest
#
# Needs: Python 3.11 or newer with its venv module, g++, make, git. Everything else goes into $(VENV).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first Python that is new enough; PYTHON=... overrides.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV ?= .venv
OUT ?= out/demo
WORKERS ?= 2
MINUTES ?= 1

# What `make pythons` tries, and what it installs.
VERSIONS ?= 3.11 3.12 3.13
LIGHT := numpy scipy scikit-learn rich typer safetensors pyserial pooch pillow 'amaranth[builtin-yosys]' \
	pytest pytest-xdist hypothesis

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Verilator's own make must not inherit this one's flags, nor Python what the caller's shell has set.
unexport MAKEFLAGS MFLAGS MAKELEVEL PYTHONPATH PYTHONHOME VIRTUAL_ENV

.PHONY: help demo test quick pythons nightly proof fuzz mutants lint docs coverage netlists coins install clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | while IFS=$$'\t' read -r name text; do \
		printf '  make %-9s %s\n' "$$name" "$$text"; done

demo: $(INSTALLED) ## train, compile, run on both devices, compare; writes a picture into OUT (out/demo)
	@$(BIN)/synflip demo --out $(OUT)

test: $(INSTALLED) ## every test; ARGS=... goes to pytest, WORKERS=2 is the number of processes
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ELSEWHERE) $(ARGS)

quick: $(INSTALLED) ## the tests that need neither simulator nor tools, in some minutes; ARGS=... goes to pytest
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal \
		-m 'not simulator and not tools and not slow' $(ARGS)

# Those that are found in the PATH or among pyenv's, other than the one of $(VENV), whose tests are all the others.
# Without torch, which is large: files, terminals, caches, programs and the contract are where Pythons differ.
pythons: $(INSTALLED) ## the tests that need neither torch nor tools, on every other Python of VERSIONS (3.11 to 3.13) that is at hand
	@for version in $(VERSIONS); do \
		for python in "python$$version" "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/"$$version".*/bin/python; do \
			found="$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)"; \
			if test "$$found" = "$$version"; then break; fi; \
		done; \
		test "$$found" = "$$version" || { echo "Python $$version is not here"; continue; }; \
		test "$$found" != "$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" || continue; \
		echo "Python $$version"; \
		"$$python" -m venv "build/python$$version"; \
		"build/python$$version/bin/python" -m pip install --quiet --disable-pip-version-check \
			-c requirements.lock $(LIGHT); \
		PYTHONPATH="$(CURDIR)/sw:$(CURDIR)/hdl:$(CURDIR)/sim" "build/python$$version/bin/python" -m pytest -q -n $(WORKERS) --dist worksteal \
			-p no:cacheprovider tests/util tests/spec tests/hdl/test_names.py --ignore tests/util/test_threads.py --ignore tests/util/test_arrays.py \
			-m 'not simulator and not tools and not slow and not nightly'; \
	done

nightly: MINUTES := 10
# `proof` and `mutants` run all of what these tests run a part of.
nightly: ELSEWHERE := --deselect tests/formal/test_formal.py::test_holds --deselect tests/campaigns/test_mutants.py::test_mutant_is_found
nightly: lint docs pythons proof test fuzz coverage mutants ## all that there is: every check, every test, ten minutes of random networks, coverage, mutants

fuzz: $(INSTALLED) ## random networks in Verilator beside the golden model, for MINUTES=1
	@$(BIN)/synflip fuzz --minutes $(MINUTES) --seed 3 --out out/fuzz

proof: $(INSTALLED) ## prove properties of the gateware; writes docs/explanation/proofs.md; ARGS='key_memory votes' chooses by name
	@$(BIN)/python -m tests.formal $(ARGS)

mutants: $(INSTALLED) ## every deliberate defect against every bench (an hour or more); writes docs/results/mutants.md; ARGS=--new: those that lack a row
	@OMP_NUM_THREADS=1 $(BIN)/python -m synflip_sim.campaigns.mutants --table docs/results/mutants.md --workers $(WORKERS) $(ARGS)

lint: $(INSTALLED) ## ruff (lint and format), mypy, codespell, and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/codespell
	@$(BIN)/lint-imports

docs: $(INSTALLED) ## the documentation as a site, build/docs/index.html; a warning is an error
	@$(BIN)/python -m sphinx -q -E -W --keep-going -b html docs build/docs

coverage: $(INSTALLED) ## run random cases with Verilator's counters and write docs/results/coverage.md
	@$(BIN)/python -m synflip_sim.campaigns.coverage docs/results/coverage.md

netlists: $(INSTALLED) ## count the cells of the netlist devices, some minutes; writes docs/guide/netlist.md
	@$(BIN)/python -m synflip_sim.campaigns.netlist_counts docs/guide/netlist.md

coins: $(INSTALLED) ## the evidence on coins, their cost, their rates (a quarter of an hour or more); writes docs/explanation/coins.md
	@mkdir -p out
	@$(BIN)/synflip coin-cost --out out/coin-cost.md --page docs/explanation/coins.md
	@$(BIN)/synflip rates --measure --out out/rates.md --page docs/explanation/coins.md
	@$(BIN)/synflip rates --data fashion-mnist --out out/rates-fashion.md --page docs/explanation/coins.md
	@$(BIN)/synflip coins --out out/coins --page docs/explanation/coins.md --picture docs/results/images/coins.png

install: $(INSTALLED) ## only the virtual environment, with everything in requirements.lock

clean: ## delete what was built and written, but not the virtual environment
	rm -rf build out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find sw hdl sim tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml requirements.lock
	@missing() { echo "error: $$1" >&2; exit 1; }; \
	test -n '$(PYTHON)' || missing 'Python 3.11 or newer is missing: install it, or say where it is with make PYTHON=...'; \
	'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| missing '$(PYTHON) is not Python 3.11 or newer'; \
	'$(PYTHON)' -c 'import venv, ensurepip' 2>/dev/null \
		|| missing '$(PYTHON) has no venv module: install it (on Debian and Ubuntu: the package python3-venv)'; \
	for tool in g++ make git; do \
		command -v "$$tool" >/dev/null || missing "$$tool is missing: install it (on Debian and Ubuntu: apt install $$tool)"; \
	done
	@echo 'Installing into $(VENV) (3 to 4 GB; some minutes the first time)'
	@'$(PYTHON)' -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock hatchling editables
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock \
		--no-build-isolation -e '.[dev]'
	@echo "$(VENV) has $$(du -sh $(VENV) | cut -f1)"
	@touch $@
