"""The W&B workspace in which runs are compared, as code."""

import importlib
from collections.abc import Sequence
from typing import Any, Final

from facesmith.errors import UserError

NAME: Final = "facesmith"
PARAMETERS: Final = ("model.optimizer.lr", "data.batch_size", "seed")
STEP: Final = "trainer/global_step"
_GATE: Final = (
    "judge_distance",
    "identity_similarity",
    "accepted",
    "nme",
    "sharpness",
    "mask_iou",
    "ssim",
    "eye_openness",
    "mouth_openness",
)


def build_workspace(project: str, by: str, parameters: Sequence[str] | None = None, group: str | None = None) -> Any:
    """Build a W&B workspace: comparison, gate, losses, media.

    Args:
        project: `<entity>/<project>`.
        by: `metric:min` or `metric:max`; its best value orders the runs, and parameters' importance is measured by it.
        parameters: Settings to put on the axes, by dotted key; None: learning rate, batch size and seed.
        group: A sweep's group, to show its runs alone.

    Raises:
        UserError: wandb-workspaces is not installed, or an argument is not of its form.
    """
    entity, _, name = project.partition("/")
    metric, _, mode = by.rpartition(":")
    if not entity or not name or "/" in name:
        raise UserError(f"{project}: give the project as <entity>/<project>, as it stands in its address")
    if not metric or mode not in ("min", "max"):
        raise UserError(f"by={by}: add the direction: <metric>:min or <metric>:max")
    try:
        wr: Any = importlib.import_module("wandb_workspaces.reports.v2")
        ws: Any = importlib.import_module("wandb_workspaces.workspaces")
    except ImportError:
        raise UserError("dashboard: needs the package wandb-workspaces; pip install wandb-workspaces") from None

    keys = list(parameters or PARAMETERS)
    best = f"best/{metric}"
    axes = [wr.ParallelCoordinatesPlotColumn(wr.Config(key), display_name=key) for key in keys]
    axes.append(wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(best), display_name=best, inverted=mode == "min"))
    comparison: list[Any] = [
        wr.ParallelCoordinatesPlot(title="Parameters and the best value", columns=axes),
        wr.ParameterImportancePlot(with_respect_to=best),
        *(wr.ScatterPlot(title=key, x=wr.Config(key), y=wr.SummaryMetric(best)) for key in keys[:2]),
        wr.RunComparer(diff_only="split"),
    ]
    gate = [wr.LinePlot(title=f"val/{one}", x=STEP, y=[f"val/{one}"]) for one in _GATE]
    held_out = [
        wr.LinePlot(title=f"{one}, held out", x=STEP, y=[f"val_holdout/{one}"])
        for one in ("judge_distance", "accepted")
    ]
    losses = [
        wr.LinePlot(title="train/loss", x=STEP, y=["train/loss"], log_y=True, smoothing_factor=0.6),
        wr.LinePlot(title="its parts", x=STEP, metric_regex="train/loss_.*", log_y=True),
        wr.LinePlot(title="learning rate", x=STEP, metric_regex="lr-.*"),
    ]
    media = [
        wr.MediaBrowser(title="validation", media_keys=["renders/validation"], num_columns=2),
        wr.MediaBrowser(title="validation, epoch by epoch", media_keys=["renders/film"], num_columns=2),
        wr.WeavePanelSummaryTable(table_name="gate/targets"),
    ]
    return ws.Workspace(
        entity=entity,
        project=name,
        name=f"{NAME}: {group}" if group else NAME,
        sections=[
            ws.Section(name="Comparison", panels=comparison, is_open=True, pinned=True),
            ws.Section(name="Quality gate", panels=[*gate, *held_out], is_open=True),
            ws.Section(name="Losses", panels=losses, is_open=True),
            ws.Section(name="Media", panels=media, is_open=True),
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=50),
        runset_settings=ws.RunsetSettings(
            filters=f"Group == '{group}'" if group else "",
            order=[ws.Ordering(ws.Summary(best), ascending=mode == "min")],
            pinned_columns=[f"summary:{best}", "summary:best/epoch", "summary:status"],
        ),
    )


def save_workspace(workspace: Any) -> str:
    """Save a workspace on the W&B server as a new view, and return its address.

    Args:
        workspace: From `build_workspace`.

    Raises:
        UserError: No key is set, or the server does not accept it.
    """
    import requests
    import wandb

    if not wandb.login(prompt=False):
        raise UserError("dashboard: W&B has no key; set it with `wandb login`, or WANDB_API_KEY")
    try:
        workspace.save_as_new_view()
    except (wandb.Error, requests.RequestException, ValueError) as error:
        raise UserError(f"dashboard: W&B did not accept it ({' '.join(str(error).split())})") from None
    return str(workspace.url)
