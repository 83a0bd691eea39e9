"""`facesmith purge`: remove everything made from a person's pictures, or list expired consents."""

import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal

from facesmith.cli.arguments import read_arguments, wants_help
from facesmith.errors import UserError
from facesmith.progress import progress_bar
from facesmith.terminal import make_console, print_line

if TYPE_CHECKING:
    from facesmith.purge.find import PurgeConfig
    from facesmith.purge.removal import Trace

CONSENT_EXPIRED = 2
"""Exit code of `retention` when somebody's consent has run out."""

_SHOWN = 4  # files of one trace

_HELP = """\
Remove everything that was made of a person: face sets, runs, profiles, exported models and adapters.

  facesmith purge name=<identity>            list, ask, and remove
  facesmith purge name=<identity> yes=true   without asking
  facesmith purge retention                  whose consent (data.expires) has run out; exit code 2 if anybody's has

keys
  shared=ask            things of another name made from the same pictures: ask | keep | remove. yes=true keeps them
  folders=[exports]     where exported models, adapters and cached tensors may lie besides the runs
  marked_media=false    also remove pictures and videos in these folders that are marked with the identity
  record=deletions      folder of the deletion records
  on=2027-01-31         the day for which retention is asked; today by default
  paths.runs= paths.face_sets= paths.profiles=
"""


def main(given: Sequence[str]) -> int:
    """List and remove everything made from a person's pictures, or with `retention` list expired consents."""
    if wants_help(given) or not given:
        print(_HELP, end="")
        return 0
    from facesmith.purge.find import PurgeConfig  # imports what reads face sets and media

    if given[0] == "retention":
        return _retention(read_arguments(given[1:], PurgeConfig, conf="purge"))
    return _purge(read_arguments(given, PurgeConfig, conf="purge"))


def _purge(config: "PurgeConfig") -> int:
    from facesmith.purge.artefacts import find_doubtful_models
    from facesmith.purge.find import find_traces
    from facesmith.purge.removal import deletion_record, finish_record, lock_traces, remove, write_record

    console = make_console()
    if config.name is None:
        raise UserError("name: is required: name=<identity>")
    found = find_traces(config, config.name)
    folders = [folder for folder in config.folders if folder.is_dir()]
    doubtful = list(find_doubtful_models(config.name, folders, found))
    if not found:
        print_line(f"nothing of {config.name} was found in {_places(config)}", console)
        _print_doubtful(console, doubtful)
        return 0
    traces = [trace for trace in found if not trace.shared_with]
    total = _list(console, traces)
    _print_doubtful(console, doubtful)
    print_line(
        "Photos and videos given as data.source are never touched; what was sent elsewhere is not reached.", console
    )
    if traces and not (config.yes or _confirm(console, f"Remove these {len(traces)} ({decimal(total)}) for good?")):
        print_line("nothing was removed; add yes=true to remove it", console)
        return 1
    others = [trace for trace in found if trace.shared_with]
    if others:
        more = _decide_shared(console, config, others)
        traces, total = [*traces, *more], total + sum(map(_size, more))
    if not traces:
        return 0
    with lock_traces(traces):
        with progress_bar(console=console, transient=True, unit="bytes") as bar:
            task = bar.add_task("hashing for the record", total=total)
            record = deletion_record(config.name, traces, lambda size: bar.advance(task, size))
        path = config.record / f"{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}_{config.name}.json"
        write_record(path, record)
        remove(traces, [config.paths.runs, config.paths.face_sets, config.paths.profiles, *folders])
        write_record(path, finish_record(record))
    print_line(f"removed {len(traces)} ({decimal(total)}); recorded in {path}", console)
    return 0


def _list(console: Console, traces: "Sequence[Trace]") -> int:
    """Print what was found; return its size in bytes."""
    total = 0
    for trace in traces:
        size = _size(trace)
        total += size
        print_line(f"{trace.kind:<11} {trace.files[0]}  ({decimal(size)}; {trace.why})", console)
        for more in trace.files[1:_SHOWN]:
            print_line(f"{'':<11} {more}", console)
        if len(trace.files) > _SHOWN:
            print_line(f"{'':<11} and {len(trace.files) - _SHOWN} more beside them", console)
    return total


def _size(trace: "Trace") -> int:
    return sum(path.stat().st_size for path in trace.contents())


def _decide_shared(console: Console, config: "PurgeConfig", traces: "Sequence[Trace]") -> "list[Trace]":
    """List what goes by other names and was made from the same pictures, and return what of it is removed as well."""
    names = ", ".join(sorted({trace.shared_with for trace in traces}))
    print_line(f"Made from the same pictures, but under another name ({names}):", console)
    total = _list(console, traces)
    if config.shared == "remove":
        return list(traces)
    question = f"Remove these {len(traces)} ({decimal(total)}) of {names} too?"
    if config.shared == "ask" and not config.yes and _confirm(console, question):
        return list(traces)
    print_line(f"kept what is {names}'s; shared=remove removes it too", console)
    return []


def _retention(config: "PurgeConfig") -> int:
    from facesmith.purge.face_sets import expired, expiries

    console = make_console()
    today = date.fromisoformat(config.on) if config.on else date.today()
    over = expired(expiries(config.paths.face_sets, config.paths.profiles, config.paths.runs), today)
    for identity, places in over.items():
        first = min(one.expires for one in places)
        mend = f"facesmith purge name={identity}"
        print_line(f"{identity}: consent expired on {first}; {mend}", console)
        for one in places:
            print_line(f"  {one.expires}  {one.where}", console)
    if not over:
        print_line(f"no consent has expired by {today} in {_places(config)}", console)
    return CONSENT_EXPIRED if over else 0


def _confirm(console: Console, question: str) -> bool:
    return sys.stdin.isatty() and console.input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _places(config: "PurgeConfig") -> str:
    places = [config.paths.face_sets, config.paths.profiles, config.paths.runs, *config.folders]
    return ", ".join(str(place) + ("" if place.is_dir() else " (no such folder)") for place in places)


def _print_doubtful(console: Console, doubtful: Sequence[Path]) -> None:
    for path in doubtful:
        print_line(f"look at it  {path}  (has this name, but its metadata name no identity: not removed)", console)


if __name__ == "__main__":
    from facesmith.cli import main as command_line

    sys.exit(command_line.main(["purge", *sys.argv[1:]]))
