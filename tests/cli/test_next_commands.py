"""The command that a task ends with can be pasted."""

import shlex
from pathlib import Path

import numpy as np
import pytest

from facesmith.cli.composition import load_config
from facesmith.cli.jobs import infer_arguments
from facesmith.cli.next_commands import after_task
from facesmith.cli.typed_values import as_typed
from facesmith.config.schema import InferConfig
from facesmith.faces.profiles.profile import IdentityProfile


def compose(words: list[str]) -> InferConfig:
    return load_config("infer", InferConfig, infer_arguments(as_typed(words)))


@pytest.mark.parametrize(
    "given",
    [
        ["swaps=my swaps", "targets=targets", "sources=people"],
        ["swaps=[a.png,b.png]", "targets=targets", "sources=ada.json", "one_person=true"],
        ["swaps=swaps", "targets=targets", "sources=people", "names=source-target"],
        ["swaps=swaps", "targets=targets", "sources=people", "pairs=pairs.csv"],
    ],
)
def test_after_an_evaluation_other_swaps_are_held_against_these(given: list[str]) -> None:
    task = compose(["task=evaluate", *given, "output=report"]).task
    (command,) = after_task(task, [Path("report/evaluation.html")])
    program, job, *words = shlex.split(command)
    assert (program, job) == ("facesmith", "infer")
    again = compose(words).task
    changed = {key for key, value in task.arguments().items() if again.arguments()[key] != value}
    assert changed == {"swaps", "against", "output"}
    assert again.against == task.swaps
    assert after_task(again, [Path("report_against/evaluation.html")]) == []


@pytest.mark.parametrize(("embedder", "job"), [("clip:vit", "task=generate"), ("sface", "task=validate")])
def test_after_a_blend_comes_the_job_that_reads_such_profiles(embedder: str, job: str, tmp_path: Path) -> None:
    profile = IdentityProfile.create(
        id="both", embedder=embedder, embedding_mean=np.ones(4), embedding_std=np.ones(4), num_frames=3, consent="self"
    )
    profile.save(tmp_path / "both.json")
    task = compose(["task=blend", "source=[a.json,b.json]", "task.name=both", f"output={tmp_path}/both.json"]).task
    (command,) = after_task(task, [tmp_path / "both.json"])
    words = shlex.split(command)
    assert words[2] == job
    compose(words[2:])
