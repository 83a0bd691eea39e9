"""Controls of a swap become one command; casts, references and files of the project alone."""

import pytest

from facesmith.cli.composition import load_config
from facesmith.cli.jobs import infer_arguments
from facesmith.cli.typed_values import as_typed
from facesmith.config.schema import InferConfig
from facesmith.config.settings import PathSetting
from facesmith.errors import UserError
from facesmith.studio.project import Project
from facesmith.studio.swap_request import FIELDS, PATHS, add_to_cast, read_cast, read_request
from facesmith.studio.swapping import render_words, result_of
from facesmith.tasks.swap.config import CastEntry, SwapTaskConfig


@pytest.fixture
def files(project: Project) -> Project:
    for name in ("ada.onnx", "ben of b's.onnx", "scene.png", "me.json"):
        (project.root / name).write_bytes(b"x")
    return project


def composed(words: list[str]) -> SwapTaskConfig:
    task = load_config("infer", InferConfig, as_typed(infer_arguments(words[1:]))).task
    assert isinstance(task, SwapTaskConfig)
    return task


def test_read_request_usual_controls_are_not_written_out(files: Project) -> None:
    request = read_request(files, {"model": "ada.onnx", "target": "scene.png", "cast": "", "profile": ""})
    assert request.words() == ["infer", "task=swap", "model=ada.onnx"]


def test_words_of_every_control_compose_to_what_the_preview_draws(files: Project) -> None:
    given = {
        "model": "ada.onnx",
        "target": "scene.png",
        "select": "me.json",
        "masks": ["hull", "region"],
        "regions": ["mouth", "eyes"],
        "mask_blur": 0.5,
        "blend": "poisson",
        "colour_match": True,
        "pixel_boost": 512,
        "occluder": "",
        "enhancer": "models/gfpgan.onnx",
        "enhancer_blend": 0.5,
    }
    (files.root / "models").mkdir()
    (files.root / "models" / "gfpgan.onnx").write_bytes(b"x")
    request = read_request(files, given)
    task = composed(render_words(files, request, "", side_by_side=True, preview=8))
    plain = task.model_dump(mode="json")
    assert {key: plain[key] for key, value in request.settings().items() if value is not None} == {
        key: value for key, value in request.settings().items() if value is not None
    }
    assert (task.select, str(task.reference), task.occluder, task.preview) == ("reference", "me.json", None, 8)


def test_cast_of_the_page_is_the_cast_of_the_command(files: Project) -> None:
    text = add_to_cast("", read_request(files, {"model": "ada.onnx", "target": "scene.png", "select": "me.json"}))
    second = read_request(files, {"model": "ben of b's.onnx", "target": "scene.png", "select": "1"})
    text = add_to_cast(f"{text}\n\n", second)
    assert read_cast(text) == [
        {"model": "ada.onnx", "target": "me.json"},
        {"model": "ben of b's.onnx", "target": 1},
    ]
    words = render_words(files, read_request(files, {"target": "scene.png", "cast": text}), "")
    assert result_of(words) == "swapped/scene_ada_ben of b's.png"
    assert words[2].startswith("cast=[{model: ada.onnx, target: me.json},")
    cast = composed(words).cast
    assert cast is not None
    assert [(str(entry.model), entry.target) for entry in cast] == [("ada.onnx", "me.json"), ("ben of b's.onnx", 1)]


def test_paths_are_all_that_an_entry_takes() -> None:
    paths = {name for name, field in CastEntry.model_fields.items() if "Path" in str(field.annotation)}
    assert paths == set(PATHS)
    assert "Path" in str(PathSetting)
    assert {"cast", "enhancer"} < set(FIELDS)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"target": "scene.png"}, "model: is empty"),
        ({"model": "ada.onnx"}, "target: is empty"),
        (
            {"model": "ada.onnx", "target": "scene.png", "select": "nobody"},
            "faces=nobody: choose largest, all, a number",
        ),
        ({"target": "scene.png", "cast": "ada.onnx"}, "cast: ada.onnx: write one entry a line"),
        ({"target": "scene.png", "cast": "{model: ada.onnx}"}, "cast.0: needs model and target"),
        ({"target": "scene.png", "cast": "{model: /etc/passwd, target: 0}"}, "cast.0.model=/etc/passwd: lies outside"),
        (
            {"target": "scene.png", "cast": [{"model": "ada.onnx", "target": "../x"}]},
            "cast.0.target=../x: lies outside",
        ),
        (
            {"target": "scene.png", "cast": [{"model": "ada.onnx", "target": 0, "occluder": "/etc/x"}]},
            "cast.0.occluder=/etc/x: lies outside",
        ),
    ],
)
def test_read_request_mistake_is_one_line(files: Project, fields: dict[str, object], line: str) -> None:
    with pytest.raises(UserError, match=line):
        read_request(files, fields)
