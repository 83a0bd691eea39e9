# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

DEMO_ASSETS := face_landmarker.task yunet.onnx sface.onnx carphone_pristine.mp4 astronaut.png \
	dlib_face_recognition_resnet_model_v1.dat shape_predictor_5_face_landmarks.dat

.PHONY: demo test slow check format clean

demo: $(READY)  ## train on the embedded default and swap a portrait
	$(BIN)/facesmith assets $(DEMO_ASSETS)
	$(BIN)/facesmith train experiment=identity_demo
	$(BIN)/facesmith infer task=swap model=$$(ls -t runs/identity_demo/carphone/*/exports/*.onnx | head -1) \
		source=asset:astronaut.png output=outputs/astronaut_swapped.png

test: $(READY)  ## the default suite
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(READY)  ## the tests that take minutes
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

check: $(READY)  ## lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev,sweeps]"
	touch $@

clean:  ## remove what runs made; face sets and profiles stay
	rm -rf runs exports .pytest_cache .mypy_cache .ruff_cache
