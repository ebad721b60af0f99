# `make help` lists the targets. Everything is installed into .venv; PYTHON=/path/to/python chooses the Python for it.

VENV := .venv
# Absolute, because some steps change the directory, and a Python started by a relative path reports a relative path.
RUN := $(CURDIR)/$(VENV)/bin/python
STAMPS := $(VENV)/stamps
# Python compiles the modules that are imported, and keeps that; compiling all of them would take half of pip's time.
PIP := $(RUN) -m pip install --quiet --no-compile
unexport PYTHONDONTWRITEBYTECODE

# The files from which the installed native library and metadata are made.
PACKAGE := pyproject.toml setup.py vsparagon/__init__.py vsparagon/native/paragon.c

WHEEL_PLATFORMS := manylinux_2_17_x86_64 win_amd64

.DEFAULT_GOAL := help
.PHONY: help demo test oldest sanitize wheel stubs clean

help:  ## list the targets
	@grep -E '^[a-z]+: .*##|^[a-z]+:  ##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(STAMPS)/demo  ## upscale a clip and show the result: make demo [CLIP=video.mkv]
	$(RUN) scripts/demo.py $(if $(CLIP),--clip "$(CLIP)")

test: $(STAMPS)/test  ## lint, check types and run the tests: make test [PYTEST_ARGS="-k bridge"]
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

oldest: OLDEST := $(CURDIR)/.oldest/bin/python
oldest:  ## run the tests with the oldest packages that pyproject.toml allows, in .oldest
	python=$$(PYTHON="$(PYTHON)" sh scripts/find_python.sh) && "$$python" -m venv --clear .oldest
	$(OLDEST) -m pip install --quiet uv
	$(OLDEST) -m uv pip install --quiet --resolution lowest-direct -e '.[test]'
	$(OLDEST) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

sanitize: SITE = $(shell $(RUN) -c 'import vapoursynth; print(*vapoursynth.__path__)')
sanitize: VERSION = $(subst ., ,$(shell $(RUN) -c 'import vsparagon; print(vsparagon.__version__)'))
sanitize: $(STAMPS)/test  ## test the native library under AddressSanitizer, which comes with gcc
	rm -rf .sanitized && mkdir .sanitized && cp -r "$(SITE)" .sanitized
	gcc -std=c11 -g -fsanitize=address,undefined -fno-sanitize-recover -Wall -Wextra -Wconversion -shared -fPIC \
	    -DPARAGON_VERSION_MAJOR=$(word 1,$(VERSION)) -DPARAGON_VERSION_MINOR=$(word 2,$(VERSION)) \
	    -I"$(SITE)/include" vsparagon/native/paragon.c \
	    -o .sanitized/vapoursynth/plugins/vsparagon/libparagon.so
	@# Python itself leaks at exit. libstdc++ is loaded early, or exceptions of C++ could not be followed.
	PYTHONPATH=$(CURDIR)/.sanitized PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
	    LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
	    $(RUN) -m pytest tests/filter/test_bridge.py $(PYTEST_ARGS)
	rm -rf .sanitized

wheel: $(STAMPS)/wheel  ## build the wheels for Linux and Windows into dist/
	rm -rf dist
	@# setuptools would pick up stale files from build/.
	for platform in $(WHEEL_PLATFORMS); do \
	    rm -rf build; \
	    VSPARAGON_PLATFORM=$$platform $(RUN) -m pip wheel --quiet --no-deps --no-build-isolation -w dist . || exit 1; \
	done
	rm -rf build
	@ls -l dist

stubs: $(STAMPS)/stubs  ## write type stubs of core.paragon and other plugins for the editor that uses .venv
	$(RUN) -m vsstubs

clean:  ## remove .venv and everything that was built
	rm -rf $(VENV) .oldest .sanitized build dist vsparagon.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .cache
	find vsparagon scripts tests -name __pycache__ -type d -exec rm -rf {} +

# Recreate a virtual environment whose Python is gone or that was copied from elsewhere.
ifneq ($(wildcard $(VENV)),)
ifneq ($(shell $(RUN) -c 'import sys; print(sys.prefix)' 2>/dev/null),$(CURDIR)/$(VENV))
$(shell rm -rf $(VENV))
endif
endif

# Keep a virtual environment that was made by hand, as in README.md, if it has pip and Python 3.12 or later.
$(STAMPS)/venv:
	$(RUN) -c 'import pip, sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || \
	    { python=$$(PYTHON="$(PYTHON)" sh scripts/find_python.sh) && "$$python" -m venv --clear $(VENV); }
	$(PIP) --upgrade pip
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/demo: $(STAMPS)/venv $(PACKAGE)
	$(PIP) -e '.[demo]'
	@touch $@

$(STAMPS)/test: $(STAMPS)/venv $(PACKAGE)
	$(PIP) -e '.[test]'
	@touch $@

$(STAMPS)/stubs: $(STAMPS)/venv $(PACKAGE)
	$(PIP) -e '.[stubs]'
	@touch $@

$(STAMPS)/wheel: $(STAMPS)/venv
	$(PIP) 'setuptools>=77' 'vapoursynth>=81' ziglang
	@touch $@
