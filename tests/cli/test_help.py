"""Every key is explained, and help on one says what it takes and what it is where."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from facesmith.cli.help import collect_keys, describe_type
from facesmith.cli.main import main
from facesmith.terminal import wrap_text


def test_every_key_of_every_command_is_explained() -> None:
    keys = collect_keys()
    assert len(keys) > 400
    assert sorted({key.name for key in keys if not key.meaning}) == []


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        ("data.max_frames", ["data.max_frames  whole number >= 1", "data=identity: 1000"]),
        ("max_frames=", ["data.max_frames  whole number >= 1"]),
        ("betas", ["list of: number >= 0 and < 1", "Decay rates"]),
        ("model.generator.size", ["model/generator=mesh_warp: 256"]),
        ("model/generator", ["mesh_warp  The person's own pictures", "aad_fast"]),
        ("trainer", ["low_memory", "trainer.max_epochs"]),
        ("trainer.max_epochs", ["whole number >= 0 and", "Passes over the training data"]),
        ("seed", ["seed  whole number >= 0 and < 4294967296", "facesmith train: 0"]),
        ("export", ["ckpt_path", "ONNX operator set"]),
    ],
)
def test_help_explains(asked: str, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", asked]) == 0
    shown = capsys.readouterr().out
    for line in lines:
        assert line in shown


def test_help_of_a_misspelt_key_suggests_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "data.max_frame"]) == 1
    assert capsys.readouterr().err == "error: data.max_frame: no such key; did you mean data.max_frames?\n"


def test_describe_type_says_it_in_words() -> None:
    assert describe_type(int | list[int] | Literal["auto"]) == "whole number or list of: whole number or auto"
    assert describe_type(Path | None) == "path or null"
    assert describe_type(Annotated[float, Field(gt=0, le=1)]) == "number > 0 and <= 1"
    assert describe_type(bool) == "true | false"


def test_help_breaks_between_words_below_the_description() -> None:
    text = "  trainer     the hardware, with batch sizes that fit its memory\n              ddp, default, fsdp\n"
    assert wrap_text(text, 40).splitlines() == [
        "  trainer     the hardware, with batch",
        "              sizes that fit its memory",
        "              ddp, default, fsdp",
    ]
    assert wrap_text(text, 100) == text
