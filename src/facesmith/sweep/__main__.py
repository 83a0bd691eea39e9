"""Compare runs: python -m facesmith.sweep status|leaderboard|best DIR, of a sweep or of any folder of runs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from facesmith.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; 0 when all went well, 1 for a mistake, told in one line."""
    chosen = _parser().parse_args(arguments)
    actions = {
        "status": _status,
        "leaderboard": _leaderboard,
        "best": _best,
        "lineage": _lineage,
        "dashboard": _dashboard,
    }
    try:
        actions[chosen.action](chosen)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m facesmith.sweep", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    for name, told in (
        ("status", "each run's state, progress and error"),
        ("leaderboard", "runs from best to worst: a table, leaderboard.csv and leaderboard.html"),
        ("best", "the commands that rerun the winner and that go on training it"),
    ):
        action = actions.add_parser(name, help=told, description=told)
        action.add_argument("folder", type=Path, metavar="DIR", help="a sweep's folder, or any folder of runs")
        if name != "status":
            action.add_argument("--by", metavar="METRIC:min|max", help="compare by this instead of what was monitored")
        if name == "leaderboard":
            action.add_argument("--top", type=int, default=30, metavar="N", help="rows in the terminal (%(default)s)")
            action.add_argument("--output", type=Path, metavar="FOLDER", help="where the files go (DIR)")
            action.add_argument("--pictures", type=int, default=24, metavar="N", help="renders shown (%(default)s)")
            action.add_argument("--no-pictures", dest="pictures", action="store_const", const=0, help="no face in it")
    action = actions.add_parser("lineage", help="tell W&B which model a swapped picture or video was made with")
    action.add_argument("output", type=Path, metavar="FILE", help="the picture or video; it stays here")
    action.add_argument("--model", type=Path, required=True, metavar="ONNX", help="<run folder>/exports/<name>.onnx")
    action.add_argument("--project", default="facesmith", help="%(default)s")
    action.add_argument("--entity", help="of W&B; your own when left out")
    action.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="FOLDER", help="where runs lie (%(default)s)"
    )
    action = actions.add_parser("dashboard", help="save the W&B workspace that shows a project's runs")
    action.add_argument("project", metavar="ENTITY/PROJECT")
    action.add_argument("--group", metavar="SWEEP", help="show this sweep alone, by the name of its group in W&B")
    action.add_argument(
        "--parameters", nargs="*", metavar="KEY", help="settings beside the objective: axes, importance"
    )
    action.add_argument("--by", default="val/judge_distance:min", metavar="METRIC:min|max", help="%(default)s")
    return parser


def _status(chosen: argparse.Namespace) -> None:
    from facesmith.sweep.leaderboard import status_table
    from facesmith.sweep.runs import find_runs

    Console().print(status_table(find_runs(chosen.folder)))


def _leaderboard(chosen: argparse.Namespace) -> None:
    from facesmith.sweep.leaderboard import ranking_table, write_csv
    from facesmith.sweep.ranking import importance, rank
    from facesmith.sweep.report import write_report
    from facesmith.sweep.runs import find_runs

    ranking = rank(find_runs(chosen.folder), chosen.by)
    console = Console()
    console.print(ranking_table(ranking, chosen.top, console))
    folder = chosen.output or chosen.folder
    table, page = folder / "leaderboard.csv", folder / "leaderboard.html"
    write_csv(ranking, table)
    measured = importance(ranking, chosen.folder)
    faces = write_report(ranking, measured, page, _title(chosen.folder), chosen.pictures)
    console.print(f"  {table}", highlight=False, soft_wrap=True)
    warning = "  (shows faces: readable by you alone; --no-pictures leaves them out)" if faces else ""
    console.print(f"  {page}{warning}", highlight=False, soft_wrap=True)


def _best(chosen: argparse.Namespace) -> None:
    from facesmith.sweep.ranking import rank
    from facesmith.sweep.runs import continue_command, find_runs, rerun_command

    ranking = rank(find_runs(chosen.folder), chosen.by)
    best = ranking.best
    assert best.run.record is not None
    told = [
        f"{m.name} {value:.4f}" for m, value in zip(ranking.objectives, best.values, strict=True) if value is not None
    ]
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"[bold]{best.run.folder}[/bold]: {', '.join(told)}")
    if best.run.record.checkpoint:
        console.print(f"checkpoint: {best.run.record.checkpoint}")
    print(f"again:    {rerun_command(best.run.record)}")
    print(f"go on:    {continue_command(best.run)}")


def _lineage(chosen: argparse.Namespace) -> None:
    from facesmith.training.run.wandb import tell_swap

    print(tell_swap(chosen.output, chosen.model, chosen.project, chosen.entity, chosen.runs))


def _dashboard(chosen: argparse.Namespace) -> None:
    from facesmith.sweep.dashboard import save, workspace

    print(save(workspace(chosen.project, chosen.by, chosen.parameters, chosen.group)))


def _title(folder: Path) -> str:
    return "/".join(folder.resolve().parts[-3:])


if __name__ == "__main__":
    sys.exit(main())
