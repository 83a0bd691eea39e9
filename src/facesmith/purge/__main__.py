"""Remove everything that was made of a person: python -m facesmith.purge name=ada

`python -m facesmith.purge retention` tells whose consent has run out.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from facesmith.config.conf_folder import conf_folder
from facesmith.config.schema import PathsConfig, validate
from facesmith.config.settings import IsoDate, PathSetting, Settings, Slug
from facesmith.errors import UserError
from facesmith.purge.artefacts import models_named, traces_in_folders, traces_in_profiles, traces_of_adapters
from facesmith.purge.face_sets import expiries, past, traces_in_face_sets
from facesmith.purge.removal import Trace, describe, finished, remove, undisturbed, write_record
from facesmith.purge.runs import exported_hashes, traces_in_runs

SOME_ARE_PAST = 2
"""Exit code of `retention` when somebody's consent has run out."""

_SHOWN = 4  # files of one trace

_USAGE = """\
python -m facesmith.purge name=<identity>     list, ask, and remove everything that was made of this person
python -m facesmith.purge name=... yes=true   without asking
python -m facesmith.purge retention           whose consent (data.expires) has run out; exit code 2 if anybody's has
keys: folders=[exports] marked_media=false record=deletions on=2027-01-31 paths.runs= paths.face_sets= paths.profiles=
"""


class PurgeConfig(Settings):
    """What to remove, where to look, and where to record it."""

    name: Slug | None
    yes: bool
    folders: list[PathSetting]
    marked_media: bool
    record: PathSetting
    on: IsoDate | None
    paths: PathsConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0
    retention = given[0] == "retention"
    try:
        config = _configured(given[1:] if retention else given)
        return _retention(config) if retention else _purge(config)
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 1


def find(config: PurgeConfig, name: str) -> list[Trace]:
    """List everything on disk that holds the person's face or was learnt from it."""
    sets, keys = traces_in_face_sets(name, config.paths.face_sets)
    runs = traces_in_runs(name, keys, config.paths.runs)
    profiles = traces_in_profiles(name, keys, config.paths.profiles)
    folders = [folder for folder in config.folders if folder.is_dir()]
    copies = list(exported_hashes(runs))
    elsewhere = traces_in_folders(name, keys, folders, copies, media=config.marked_media)
    found = {one.files[0].resolve() for one in elsewhere}
    listed = traces_of_adapters(name, config.paths.profiles)
    elsewhere += [one for one in listed if one.files[0].resolve() not in found]
    going = [path.resolve() for trace in runs for path in trace.files]
    elsewhere = [one for one in elsewhere if not any(one.files[0].resolve().is_relative_to(path) for path in going)]
    return [*sets, *profiles, *runs, *elsewhere]


def _purge(config: PurgeConfig) -> int:
    console = Console(highlight=False, soft_wrap=True)
    if config.name is None:
        raise UserError("name: say whom: name=<identity>")
    traces = find(config, config.name)
    folders = [folder for folder in config.folders if folder.is_dir()]
    doubtful = list(models_named(config.name, folders, traces))
    if not traces:
        console.print(f"nothing of {config.name} was found in {_searched(config)}")
        _doubt(console, doubtful)
        return 0
    total = 0
    for trace in traces:
        size = sum(path.stat().st_size for path in trace.contents())
        total += size
        console.print(f"{trace.kind:<11} {trace.files[0]}  ({decimal(size)}; {trace.why})", markup=False)
        for more in trace.files[1:_SHOWN]:
            console.print(f"{'':<11} {more}", markup=False)
        if len(trace.files) > _SHOWN:
            console.print(f"{'':<11} and {len(trace.files) - _SHOWN} more beside them", markup=False)
    _doubt(console, doubtful)
    console.print("Photos and videos given as data.source are never touched; what was sent elsewhere is not reached.")
    if not (config.yes or _agreed(console, f"Remove these {len(traces)} ({decimal(total)}) for good?")):
        console.print("nothing was removed; add yes=true to remove it")
        return 1
    with undisturbed(traces):
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("hashing for the record", total=total)
            record = describe(config.name, traces, lambda size: bar.advance(task, size))
        path = config.record / f"{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}_{config.name}.json"
        write_record(path, record)
        remove(traces, [config.paths.runs, config.paths.face_sets, config.paths.profiles, *folders])
        write_record(path, finished(record))
    console.print(f"removed {len(traces)} ({decimal(total)}); recorded in {path}", markup=False)
    return 0


def _retention(config: PurgeConfig) -> int:
    console = Console(highlight=False, soft_wrap=True)
    today = date.fromisoformat(config.on) if config.on else date.today()
    over = past(expiries(config.paths.face_sets, config.paths.profiles, config.paths.runs), today)
    for identity, places in over.items():
        first = min(one.expires for one in places)
        mend = f"python -m facesmith.purge name={identity}"
        console.print(f"{identity}: consent ran out on {first}; {mend}", markup=False)
        for one in places:
            console.print(f"  {one.expires}  {one.where}", markup=False)
    if not over:
        console.print(f"nobody's consent has run out by {today} in {_searched(config)}", markup=False)
    return SOME_ARE_PAST if over else 0


def _configured(overrides: Sequence[str]) -> PurgeConfig:
    folder = conf_folder("purge")
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            cfg = compose("purge", list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"{' '.join(overrides)}: {first}; the keys are told by --help") from None
    return validate(OmegaConf.masked_copy(cfg, [*PurgeConfig.model_fields]), PurgeConfig)


def _agreed(console: Console, question: str) -> bool:
    return sys.stdin.isatty() and console.input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _searched(config: PurgeConfig) -> str:
    places = [config.paths.face_sets, config.paths.profiles, config.paths.runs, *config.folders]
    return ", ".join(str(place) + ("" if place.is_dir() else " (no such folder)") for place in places)


def _doubt(console: Console, doubtful: Sequence[Path]) -> None:
    for path in doubtful:
        console.print(f"look at it  {path}  (bears the name, but says no identity: not removed)", markup=False)


if __name__ == "__main__":
    sys.exit(main())
