"""Small runs as training leaves them: recorded for real, with a log and a render."""

import csv
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from facesmith.media.images import write_image
from facesmith.media.provenance import Mark
from facesmith.training.run.record import Monitor, record_run

DISTANCE = Monitor(name="val/judge_distance", mode="min")
SSIM = Monitor(name="val/ssim", mode="max")
MARK = Mark(identity="ada", consent="synthetic", model_hash=None, title="test render")


def write_recorded_run(
    folder: Path,
    swept: Mapping[str, Any],
    values: list[float],
    error: Exception | None = None,
    objectives: tuple[Monitor, ...] = (DISTANCE,),
    final: list[float] | None = None,
    picture: bool = False,
) -> Path:
    """Record a run of `len(values)` epochs, whose first objective takes these values, and which may end in an error."""
    settings: dict[str, Any] = {
        "trainer": {"max_epochs": 3},
        "data": {"consent": "synthetic"},
        "paths": {"run": str(folder)},
    }
    for key, value in swept.items():
        node = settings
        *parents, last = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    folder.mkdir(parents=True)
    given = ["experiment=identity", *(f"{key}={value}" for key, value in swept.items())]
    told: dict[str, Any] = {"settings": settings, "objectives": objectives, "swept_values": swept, "overrides": given}
    expected = type(error) if error is not None else ()
    with suppress(expected), record_run(folder, experiment="identity", name="ada", **told) as recorder:
        with (folder / "metrics.csv").open("w", newline="") as file:
            log = csv.writer(file)
            log.writerow(["epoch", "step", "train/loss", objectives[0].name])
            for epoch, value in enumerate(values):
                log.writerows([[epoch, 2 * epoch, 1 / (epoch + 1), ""], [epoch, 2 * epoch + 1, "", value]])
                recorder.update_metrics(epoch + 1, 2 * epoch + 2, {objectives[0].name: value}, epoch)
        if picture:
            ramp = np.linspace(0, 255, 800 * 60 * 3).reshape(60, 800, 3).astype(np.uint8)
            write_image(folder / "renders/epoch_0003.png", ramp, mark=MARK)
        if error is not None:
            raise error
        done = final or [values[-1]]
        recorder.set_result(done if len(done) > 1 else done[0], None)
    return folder
