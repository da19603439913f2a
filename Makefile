# Two commands do everything on a machine with Python 3.11 or later: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Two test processes of one thread each: the models of the suite are too small to gain from more threads.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
CHROMIUM := DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium
SAMPLE := samples/rendered

.PHONY: help demo install test test-slow lint format clean
.DELETE_ON_ERROR:

help:
	@echo "make demo       try a garment on a person with the shipped checkpoint: out/tryon.png, out/stages.png"
	@echo "make test       run the test suite"
	@echo "make test-slow  run the tests that take longer"
	@echo "make lint       check the style; make format puts it right"
	@echo "make clean      remove $(VENV), out/ and what building leaves behind"
	@echo
	@echo "Each sets up $(VENV) first, once. PYTHON=python3.12 picks another interpreter."

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed, $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt setuptools
	$(PIP) install -q -c constraints.txt --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install -q -c constraints.txt --no-build-isolation -e ".[test]"
	@touch $@

# The app is tested in Debian's Chromium, if it is there or may be installed; otherwise those tests are skipped.
$(VENV)/.browser: $(VENV)/.installed-test
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { \
		$(CHROMIUM) || { apt-get update -qq && $(CHROMIUM); }; }; } >/dev/null 2>&1 </dev/null || true
	@touch $@

install: $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/diffusers-tryon run \
		--agnostic-image $(SAMPLE)/agnostic.png --agnostic-mask $(SAMPLE)/agnostic_mask.png \
		--person-pose $(SAMPLE)/person_pose.json \
		--garment-image $(SAMPLE)/garment.png --garment-pose $(SAMPLE)/garment_pose.json \
		--seed 0 --out out/tryon.png --all-stages
	@mv out/tryon_stages.png out/stages.png
	@echo "inputs and stages side by side: out/stages.png"

test: $(VENV)/.browser
	$(TEST)

test-slow: $(VENV)/.browser
	$(TEST) -m slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) out build dist *.egg-info
