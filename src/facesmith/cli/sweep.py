"""`facesmith sweep`: compare the runs of a sweep, or of any folder of runs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Final

from pydantic import Field
from rich.console import Console

from facesmith.cli.arguments import read_arguments, take_verb, wants_help
from facesmith.cli.next_commands import print_next
from facesmith.config.file_settings import OnnxFile
from facesmith.config.settings import PathSetting, Settings
from facesmith.files import short_path
from facesmith.terminal import make_console, print_line

_HELP: Final = """\
Compare the runs of a sweep, or of any folder of runs.

  facesmith sweep status <folder>            each run's state, progress and error
  facesmith sweep leaderboard <folder>       runs from best to worst: a table, leaderboard.csv and leaderboard.html
  facesmith sweep best <folder>              the commands that rerun the winner and that continue it
  facesmith sweep lineage <file> model=...   tell W&B which model a swapped picture or video was made with
  facesmith sweep dashboard <entity>/<project>   save the W&B workspace that shows a project's runs

keys of leaderboard and best
  by=METRIC:min|max   compare by this instead of what was monitored
keys of leaderboard
  top=30              rows in the terminal
  output=             folder of the two files; the compared folder by default
  pictures=24         renders shown in the page; false: no face in it
keys of lineage
  model=              <run folder>/exports/<name>.onnx, required
  project=facesmith   of W&B
  entity=             of W&B; your own by default
  runs=runs           where runs lie
keys of dashboard
  group=              this sweep alone, by the name of its group in W&B
  parameters=[a,b]    settings beside the objective: axes, importance
  by=val/judge_distance:min

A sweep is started by: facesmith train sweep=<name> ...
"""


_PICTURES: Final = 24


class StatusConfig(Settings):
    """Settings of `facesmith sweep status`."""

    folder: PathSetting
    """A sweep's folder, or any folder of runs."""


class BestConfig(StatusConfig):
    """Settings of `facesmith sweep best`."""

    by: str | None = None
    """`METRIC:min|max` to compare by; what was monitored where None."""


class LeaderboardConfig(BestConfig):
    """Settings of `facesmith sweep leaderboard`."""

    top: int = Field(default=30, ge=1)
    """Rows in the terminal."""
    output: PathSetting | None = None
    """Folder of leaderboard.csv and leaderboard.html; `folder` where None."""
    pictures: bool | int = _PICTURES
    """Most renders shown in the page; False or 0: no face in it."""


class LineageConfig(Settings):
    """Settings of `facesmith sweep lineage`."""

    output: PathSetting
    """The picture or video; it stays here."""
    model: OnnxFile
    """`<run folder>/exports/<name>.onnx`."""
    project: str = "facesmith"
    """Of W&B."""
    entity: str | None = None
    """Of W&B; one's own where None."""
    runs: PathSetting = Path("runs")
    """Where runs lie."""


class DashboardConfig(Settings):
    """Settings of `facesmith sweep dashboard`."""

    project: str
    """`ENTITY/PROJECT`."""
    group: str | None = None
    """Name of the sweep's group in W&B, which is then shown alone."""
    parameters: list[str] | None = None
    """Settings beside the objective: axes, importance."""
    by: str = "val/judge_distance:min"
    """`METRIC:min|max` of the objective."""


def main(given: Sequence[str]) -> int:
    """Run the subcommand."""
    if wants_help(given) or not given:
        print(_HELP, end="")
        return 0
    verb, rest = take_verb(given, ["status", "leaderboard", "best", "lineage", "dashboard"], "sweep")
    if verb == "status":
        _status(read_arguments(rest, StatusConfig, words="folder"))
    elif verb == "leaderboard":
        _leaderboard(read_arguments(rest, LeaderboardConfig, words="folder"))
    elif verb == "best":
        _best(read_arguments(rest, BestConfig, words="folder"))
    elif verb == "lineage":
        _lineage(read_arguments(rest, LineageConfig, words="output"))
    else:
        _dashboard(read_arguments(rest, DashboardConfig, words="project"))
    return 0


def _status(config: StatusConfig) -> None:
    from facesmith.sweep.leaderboard import make_status_table
    from facesmith.sweep.runs import find_runs

    Console().print(make_status_table(find_runs(config.folder)))
    print_next([f"facesmith sweep leaderboard {quote(short_path(config.folder))}"])


def _leaderboard(config: LeaderboardConfig) -> None:
    from facesmith.sweep.importance import measure_importance
    from facesmith.sweep.leaderboard import make_ranking_table, write_csv
    from facesmith.sweep.ranking import rank
    from facesmith.sweep.report import write_report
    from facesmith.sweep.runs import find_runs

    ranking = rank(find_runs(config.folder), config.by)
    console = Console()
    console.print(make_ranking_table(ranking, config.top, console))
    folder = config.output or config.folder
    table, page = folder / "leaderboard.csv", folder / "leaderboard.html"
    write_csv(ranking, table)
    pictures = _PICTURES if config.pictures is True else int(config.pictures)
    measured = measure_importance(ranking, config.folder)
    faces = write_report(ranking, measured, page, _title(config.folder), pictures)
    print_line(f"  {table}", console)
    warning = "  (shows faces: readable by you alone; pictures=false omits them)" if faces else ""
    print_line(f"  {page}{warning}", console)
    print_next([f"facesmith sweep best {quote(short_path(config.folder))}"])


def _best(config: BestConfig) -> None:
    from facesmith.sweep.ranking import rank
    from facesmith.sweep.runs import continue_command, find_runs, rerun_command

    ranking = rank(find_runs(config.folder), config.by)
    best = ranking.best
    assert best.run.record is not None
    values = [
        f"{m.name} {value:.4f}" for m, value in zip(ranking.objectives, best.values, strict=True) if value is not None
    ]
    console = make_console()
    print_line(f"{best.run.folder}: {', '.join(values)}", console)
    if best.run.record.checkpoint:
        print_line(f"checkpoint: {best.run.record.checkpoint}", console)
    print_next([continue_command(best.run), rerun_command(best.run.record)])


def _lineage(config: LineageConfig) -> None:
    from facesmith.training.run.wandb_artifacts import log_swap

    print(log_swap(config.output, config.model, config.project, config.entity, config.runs))


def _dashboard(config: DashboardConfig) -> None:
    from facesmith.sweep.dashboard import build_workspace, save_workspace

    print(save_workspace(build_workspace(config.project, config.by, config.parameters, config.group)))


def _title(folder: Path) -> str:
    return "/".join(folder.resolve().parts[-3:])


if __name__ == "__main__":
    from facesmith.cli import main as command_line

    sys.exit(command_line.main(["sweep", *sys.argv[1:]]))
