"""The command that a task ends with can be pasted."""

import shlex
from pathlib import Path

import pytest

from facesmith.cli.composition import load_config
from facesmith.cli.jobs import infer_arguments
from facesmith.cli.next_commands import after_task
from facesmith.cli.typed_values import as_typed
from facesmith.config.schema import InferConfig


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
