"""An evaluation as a run of Weights & Biases."""

import math
import os
from pathlib import Path

import wandb

from facesmith.files import make_private
from facesmith.tasks.evaluate.report import Report, describe_training


def log_evaluation(project: str, folder: Path, report: Report, page: Path | None) -> None:
    """Log the figures of an evaluation: online when a key is set, offline otherwise.

    Args:
        project: In W&B.
        folder: Of the results; W&B's own files lie in `wandb` in it.
        report: The figures.
        page: The page with its pictures; None: pictures stay on this machine.
    """
    os.environ["WANDB_DATA_DIR"] = str((folder / "wandb").resolve())
    os.environ.setdefault("WANDB_SILENT", "true")
    folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=project,
        dir=folder,
        name=report.name,
        job_type="evaluate",
        mode="online" if wandb.login(prompt=False) else "offline",
        config={"trained_against": report.trained_against, "notes": list(report.notes)},
    )
    try:
        values = {f"evaluate/{name}": one.value for name, one in report.estimates.items()}
        if report.frechet is not None and not math.isnan(report.frechet.value):
            values[f"evaluate/{report.frechet.name}"] = report.frechet.value
        run.summary.update(values)
        recogniser_of = {one.name: name for name, figures in report.identity.items() for one in figures}
        table = wandb.Table(columns=["figure", "value", "low", "high", "pairs", "trained against"])
        for name, one in report.estimates.items():
            recogniser = recogniser_of.get(name)
            training = "" if recogniser is None else describe_training(recogniser, report.trained_against)
            ends = (None if math.isnan(end) else end for end in (one.low, one.high))
            table.add_data(name, one.value, *ends, one.count, training)
        run.log({"evaluate/figures": table})
        if page is not None:
            run.log({"evaluate/page": wandb.Html(page.read_text(encoding="utf-8"), inject=False)})
    finally:
        run.finish()
        make_private(folder / "wandb")
