# Every target sets up what it needs. PORT=9000 make demo: another port.
PYTHON ?= python3
PORT ?= 8000
HOST ?= 127.0.0.1
VENV := .venv
BIN := $(VENV)/bin
# What the tests with real engines need besides.
ENGINES := docker.io debootstrap iptables iproute2 docker-registry
PYTEST := $(BIN)/python -m pytest

.PHONY: demo swarm test test-fast test-long test-engines lint docs bench bench-engines lock clean help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ - /'

demo: $(VENV)/demo.stamp  ## run the demo site: two courses in the browser
	$(BIN)/coursewarehub up --demo --site demo-site --host $(HOST) --port $(PORT)

swarm: $(VENV)/dev.stamp  ## a Swarm of three machines with the demo site on it, until Ctrl-C; needs root
	@tools/apt-install $(ENGINES)
	@$(BIN)/python tools/swarm --port $(PORT)

test: $(VENV)/dev.stamp lint  ## all but the long cases, and of those with real engines (as root) what tells most
	tools/apt-install chromium git
	$(PYTEST) -m "not long and (everyday or not engine)"

test-fast: $(VENV)/dev.stamp  ## the inner loop
	$(PYTEST) -m "not slow and not long and not engine" -q

test-long: $(VENV)/dev.stamp  ## long fault and load cases
	tools/apt-install chromium git $(ENGINES)
	$(PYTEST) -m long

test-engines: $(VENV)/dev.stamp  ## all of containers on real Docker Engines and a Swarm of three machines; needs root
	tools/apt-install chromium git $(ENGINES)
	$(PYTEST) -m "engine and not long"

lint: $(VENV)/dev.stamp  ## style, types, the laws of the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/dev.stamp  ## the documentation, in docs/_build/html
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html

bench: $(VENV)/dev.stamp  ## ours beside stock JupyterHub, in one run
	$(BIN)/python -m benchmarks.hubs
	$(BIN)/python -m benchmarks.start
	$(BIN)/python -m benchmarks.launch_chain
	$(BIN)/python -m benchmarks.launch

bench-engines: $(VENV)/dev.stamp  ## containers beside stock JupyterHub's, on real Docker Engines; needs root
	@tools/apt-install $(ENGINES)
	$(BIN)/python -m benchmarks.spawn_docker
	$(BIN)/python -m benchmarks.spawn_swarm

# For one kind of machine: Python 3.11 on x86-64, which is what the images are. uv reads PyPI and no pip settings.
LOCK := $(BIN)/uv pip compile -q setup.cfg --generate-hashes --no-emit-package coursewarehub --python-version 3.11 \
	--python-platform x86_64-manylinux_2_28 --no-config --custom-compile-command "make lock"

lock: $(VENV)/pip.stamp  ## the lock files of the images, from the newest releases that will do: LOCK_OPTIONS=--upgrade
	$(BIN)/python -m pip install -q uv
	$(LOCK) $(LOCK_OPTIONS) --extra singleuser images/singleuser/requirements.in -o images/singleuser/requirements.lock
	$(LOCK) $(LOCK_OPTIONS) --extra site --extra postgresql images/hub/requirements.in -o images/hub/requirements.lock

clean:  ## forget the virtual environment and what was built
	rm -rf $(VENV) docs/_build build *.egg-info .mypy_cache .ruff_cache .pytest_cache

# A virtual environment per checkout; the stamps say what is installed in it.
$(VENV)/pip.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || tools/apt-install python3-venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip setuptools
	@touch $@

$(VENV)/demo.stamp: $(VENV)/pip.stamp setup.cfg
	$(BIN)/python -m pip install -q -e '.[demo]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/pip.stamp setup.cfg
	$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@ $(VENV)/demo.stamp
