# One command each. `make run` needs Python 3.11, make and a network to the package registries.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY := .venv/bin/python

# A process of their own: eventlet patches the one of the other tests, and Playwright does not live in such a one.
# No tests/conftest.py, which does the patching.
BROWSER_TESTS := tests/browser --confcutdir=tests/browser -p no:pytest_nameko

.DEFAULT_GOAL := help
.PHONY: help setup run up down test lane-pages lane-drills test-browser check audit-deps shell audit backup restore drill bench scaling bench-elements bench-pages screenshots lock image image-smoke sbom clean

help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: .venv/.installed ## make .venv and install the locked libraries

.venv/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed, $(PYTHON) is older: set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

run: setup ## start everything, put three sample orders through, stay until Ctrl-C
	@exec $(PY) -m tools.run run

up: setup ## the same in the background
	@$(PY) -m tools.run up

down: ## stop what `make up` started
	@$(PY) -m tools.run down

shell: setup ## Nameko's shell against the running system
	@exec $(PY) -m tools.run shell

audit: setup ## compare network elements with the database; REPAIR=1 mends, after showing what and asking
	@PYTHONWARNINGS=ignore $(PY) -m tools.audit $(if $(REPAIR),--repair) $(if $(ELEMENT),--element $(ELEMENT))

backup: setup ## every database of one moment, journals and secrets into .local/backups; KEEP=7 stay
	@PYTHONWARNINGS=ignore $(PY) -m tools.backup $(if $(KEEP),--keep $(KEEP))

restore: setup ## bring back what was lost, the system stopped; BACKUP=name DATABASE=order JOURNALS=1 YES=1
	@PYTHONWARNINGS=ignore $(PY) -m tools.restore $(if $(BACKUP),--backup $(BACKUP)) \
	  $(if $(DATABASE),--database $(DATABASE)) $(if $(JOURNALS),--journals) $(if $(YES),--yes)

drill: setup ## outages, faults and rollouts, kept in docs/drills.md; DRILL=random SEED=7 ORDERS=300 does one alone
	@PYTHONWARNINGS=ignore $(PY) -m tools.drill $(if $(DRILL),--only $(DRILL),--keep) $(if $(SEED),--seed $(SEED)) \
	  $(if $(ORDERS),--orders $(ORDERS)) $(DRILL_ARGS)

bench: setup ## orders a second, times, CPU an order by process, memory, raw limits; BENCH_ARGS="--compare REV --keep"
	@PYTHONWARNINGS=ignore $(PY) -m tools.bench $(BENCH_ARGS)

scaling: setup ## clusters of 1 to 100 nodes, simulated from docs/bench/costs.json; writes docs/scaling.md and .svg
	@PYTHONWARNINGS=ignore $(PY) -m tools.scaling $(SCALING_ARGS)

bench-elements: setup ## time and CPU of an activation, on real network elements and on the simulator
	@PYTHONWARNINGS=ignore $(PY) -m tools.bench.elements $(BENCH_ARGS)

bench-pages: setup ## how soon pages answer, and how soon MyPage can be used on a slow phone
	@PYTHONWARNINGS=ignore $(PY) -m tools.bench_pages $(BENCH_ARGS)

screenshots: setup ## a picture of each page in each language, into docs/screenshots
	@PYTHONWARNINGS=ignore $(PY) -m tools.screenshots $(SCREENSHOTS_ARGS)

check: setup ## ruff and mypy; no secret in a file; image, compose, manifests, alarms and pipeline are well formed
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m tools.secret_scan
	$(PY) -m tools.manifests_check

audit-deps: setup ## known weaknesses of the locked libraries, in Python and Node; it asks PyPI and npm for advisories
	$(PY) -m pip_audit --strict --disable-pip --require-hashes --progress-spinner off --requirement requirements.lock
	cd clients/node && npm audit --package-lock-only --audit-level=high
	cd deploy/tools && npm audit --package-lock-only --audit-level=high

# Two lanes side by side, because most tests wait for processes longer than they compute. Each lane takes its ports from
# a range of its own.
ifdef PYTEST_ARGS
test: check ## check and every test; with PYTEST_ARGS some of those without a browser
	$(PY) -m pytest $(PYTEST_ARGS)
else
test: setup
	@echo "two lanes side by side; each tells when a part of it is over (alone: make lane-pages, make lane-drills)"
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=line lane-pages lane-drills
endif

lane-pages: export PORTS := 20000-25999
lane-pages: setup
	$(PY) -m pytest $(BROWSER_TESTS)
	$(PY) -m pytest tests/integration/test_[!a-f]*.py

lane-drills: export PORTS := 26000-31999
lane-drills: check
	$(PY) -m pytest tests/unit tests/model tests/contract
	$(PY) -m pytest tests/drills --durations=12
	$(PY) -m pytest tests/integration/test_[a-f]*.py

test-browser: setup ## the tests in a browser only
	$(PY) -m pytest $(BROWSER_TESTS) $(PYTEST_ARGS)

lock: setup ## requirements.in -> requirements.lock, and the image's part of it, with hashes
	$(PY) -m piptools compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --annotation-style=line \
	  --output-file=requirements.lock requirements.in
	$(PY) -m tools.image_lock

image: ## build the container image (needs Docker)
	docker build --file deploy/Dockerfile --tag oss-nameko \
	  --build-arg REVISION=$$(git rev-parse HEAD) $(IMAGE_ARGS) .

image-smoke: ## every service of the image can be loaded, read-only and without a capability (needs Docker)
	docker run --rm --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges oss-nameko \
	  python -c 'import importlib, tools.paths; [importlib.import_module(f"{name}_svc.service") for name in tools.paths.SERVICES]'

sbom: ## the image's libraries as a CycloneDX document, into .local/sbom.json
	@$(PYTHON) -m tools.sbom .local/sbom.json

clean: ## remove what running and testing left (keeps .venv and backups)
	test ! -d .local || find .local -mindepth 1 -maxdepth 1 ! -name backups -exec rm -rf {} +
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
