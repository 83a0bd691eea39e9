# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

DEMO_ASSETS := face_landmarker.task yunet.onnx sface.onnx single_face.mp4 carphone_pristine.mp4 astronaut.png \
	grace_hopper.jpg multi_face.jpg dlib_face_recognition_resnet_model_v1.dat shape_predictor_5_face_landmarks.dat
DEMO_PICTURES := [asset:astronaut.png,asset:carphone_pristine.mp4,asset:multi_face.jpg]
DEMO_MODEL = $$(ls -t runs/identity_demo/smiling_man/*/exports/*.onnx | head -1)
DEMO_OUTPUT := outputs/demo

.PHONY: demo test slow check docs format clean

demo: $(READY)  ## a man's clip becomes a face swapper; two pictures and a film that he is not in wear his face
	$(BIN)/facesmith assets $(DEMO_ASSETS)
	$(BIN)/facesmith train experiment=identity_demo
	$(BIN)/facesmith infer task=swap model=$(DEMO_MODEL) source=asset:carphone_pristine.mp4 \
		output=$(DEMO_OUTPUT)/film.mp4 task.side_by_side=true
	$(BIN)/facesmith infer task=compare model=$(DEMO_MODEL) source='$(DEMO_PICTURES)' output=$(DEMO_OUTPUT)/pictures.png \
		task.select=all task.width=512
	@echo "Look at: $(CURDIR)/$(DEMO_OUTPUT)/pictures.png  targets and swaps side by side"
	@echo "         $(CURDIR)/$(DEMO_OUTPUT)/film.mp4      a film, before and after"

test: $(READY)  ## the default suite
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

slow: $(READY)  ## the tests that take minutes
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

check: $(READY)  ## lint, types, import rules, the documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir .mkdocs_site

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev,sweeps]"
	touch $@

docs: $(READY)  ## the documentation at http://127.0.0.1:8000
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

clean:  ## remove what runs made; face sets and profiles stay
	rm -rf runs exports .pytest_cache .mypy_cache .ruff_cache .mkdocs_site
