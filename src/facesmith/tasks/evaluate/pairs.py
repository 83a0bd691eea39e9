"""Which target and which person belong to each swap: by name, or as a CSV file states."""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from facesmith.assets import resolve
from facesmith.errors import UserError
from facesmith.media.sources import Media, find_media, natural_key

_SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Person:
    """Who was put on, or stands in the gallery.

    Attributes:
        name: Of the file or folder.
        media: Pictures and videos of the person.
        profile: Identity profile; None for pictures and videos.
    """

    name: str
    media: tuple[Media, ...] = ()
    profile: Path | None = None


@dataclass(frozen=True)
class Pair:
    """A swap, its target and its source.

    Attributes:
        name: Of the swap, as tables show it: its path below the folder of swaps, without suffix.
        swap: The swapped picture or video.
        target: What it was swapped into.
        person: Name of the source.
    """

    name: str
    swap: Media
    target: Media
    person: str


def find_people(setting: str | Sequence[str], key: str, *, one_person: bool = False) -> dict[str, Person]:
    """Find the people that a setting names.

    A file or a profile is a person; in a folder each file, each profile and each folder is one.

    Args:
        setting: The paths.
        key: Of the setting, for messages.
        one_person: Whether all of it shows one person, whose name is that of the first path.

    Raises:
        UserError: There is nothing of a person.
    """
    if one_person:
        name = Path(setting if isinstance(setting, str) else setting[0]).stem
        return {name: Person(name, tuple(_find(setting, key)))}
    found: dict[str, list[Path]] = defaultdict(list)
    for one in [setting] if isinstance(setting, str) else setting:
        path = Path(resolve(one)).expanduser()
        if path.is_dir():
            for entry in sorted(path.iterdir(), key=natural_key):
                if not entry.name.startswith("."):
                    found[entry.name if entry.is_dir() else entry.stem].append(entry)
        elif path.exists():
            found[path.stem].append(path)
        else:
            raise UserError(f"task.{key}={one}: there is no such file or folder; check the path")
    people = {}
    for name, paths in found.items():
        profiles = [path for path in paths if path.suffix == ".json"]
        if profiles:
            people[name] = Person(name, profile=profiles[0])
            continue
        try:
            people[name] = Person(name, tuple(find_media([str(path) for path in paths])))
        except UserError:
            continue  # notes and lists beside the pictures
    if not people:
        raise UserError(f"task.{key}={setting}: no picture, video or profile found; give pictures of people")
    return people


def match_by_name(
    swaps: str | Sequence[str],
    targets: str | Sequence[str],
    people: Mapping[str, Person],
    pattern: str,
    key: str = "swaps",
) -> tuple[list[Pair], list[str]]:
    """Match swaps with targets and people by their names.

    A swap has the name of its target, or a name after `pattern`. Its person is the only one there is, or the one after
    the pattern, or of the swap's name, or of the folder that the swap is in.

    Args:
        swaps: Setting of the swaps.
        targets: Setting of the targets.
        people: By name.
        pattern: With the words target and source.
        key: Of the swaps' setting, for messages.

    Returns:
        The pairs in natural order, and the names of targets that none of them uses.

    Raises:
        UserError: Swaps have no target or no source; the message names some.
    """
    media, wanted = _find(swaps, key), _find(targets, "targets")
    by_name: dict[str, list[Media]] = defaultdict(list)
    for one in wanted:
        by_name[one.path.stem].append(one)
    pairs, lost, nobody = list[Pair](), list[str](), list[str]()
    for name, swap in zip(_names(media), media, strict=True):
        stem = swap.path.stem
        options = [(t, s) for t, s in _split(stem, pattern) if t in by_name and s in people]
        if stem in by_name:
            options = [(stem, who) for who in _person_of(swap.path, people)]
        elif len(people) == 1:
            only = next(iter(people))
            options = options or [(t, only) for t, _ in _split(stem, pattern) if t in by_name]
            options = options or [(next(iter(by_name)), only)] * (len(wanted) == len(media) == 1)
        if not options:
            has_target = stem in by_name or any(t in by_name for t, _ in _split(stem, pattern))
            (nobody if has_target else lost).append(swap.path.name)
            continue
        target, person = options[0]
        pairs.append(Pair(name, swap, _choose(by_name[target], swap), person))
    _refuse(lost, len(media), f"task.{key}", "no target of their name in task.targets", pattern)
    hint = "; one_person=true where all sources show one person"
    _refuse(nobody, len(media), f"task.{key}", "no source of their name in task.sources", pattern, hint)
    used = {pair.target.path for pair in pairs}
    return pairs, [one.path.name for one in wanted if one.path not in used]


def read_pairs(
    file: Path,
    swaps: str | Sequence[str],
    targets: str | Sequence[str],
    people: Mapping[str, Person],
    key: str = "swaps",
) -> tuple[list[Pair], list[str]]:
    """Read which swap, target and source belong together from a CSV file, and return what `match_by_name` does.

    Args:
        file: With the columns swap, target, source: file names, with or without suffix, or paths below the settings'.
        swaps: Setting of the swaps.
        targets: Setting of the targets.
        people: By name.
        key: Of the swaps' setting, for messages.

    Raises:
        UserError: The file cannot be read, or names what is not there.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"task.pairs={file}: cannot be read ({error}); give a CSV file in UTF-8") from None
    missing = {"swap", "target", "source"} - set(rows[0] if rows else {})
    if missing:
        raise UserError(f"task.pairs={file}: lacks {', '.join(sorted(missing))} in its first line, or has no rows")
    known = {key: _by_path(_find(swaps, key)), "targets": _by_path(_find(targets, "targets"))}
    pairs = []
    for number, row in enumerate(rows, 2):
        swap, target = (
            _look_up(known[of], row[column], file, number, of) for of, column in ((key, "swap"), ("targets", "target"))
        )
        person = row["source"] if row["source"] in people else Path(row["source"] or "").stem
        if person not in people:
            raise UserError(f"{file}, line {number}: task.sources has no {row['source']}; check the name")
        pairs.append(Pair(Path(row["swap"]).with_suffix("").as_posix(), swap, target, person))
    used = {pair.target.path for pair in pairs}
    return pairs, [
        one.path.name for one in {id(one): one for one in known["targets"].values()}.values() if one.path not in used
    ]


def _find(setting: str | Sequence[str], key: str) -> list[Media]:
    try:
        return find_media(setting)
    except UserError as error:
        raise UserError(f"task.{key}={error}") from None


def _names(media: Sequence[Media]) -> list[str]:
    """Return names by which files are told apart: paths below the folder they share."""
    parents = [one.path.parent.parts for one in media]
    shared = 0
    while all(len(parts) > shared for parts in parents) and len({parts[shared] for parts in parents}) == 1:
        shared += 1
    names = ["/".join(one.path.with_suffix("").parts[shared:]) for one in media]
    counts = Counter(names)
    return [name if counts[name] == 1 else name + one.path.suffix for name, one in zip(names, media, strict=True)]


def _split(stem: str, pattern: str) -> Iterator[tuple[str, str]]:
    """Yield all targets and sources that a name may consist of."""
    first, second = sorted(("target", "source"), key=pattern.index)
    before, rest = pattern.split(first)
    between, after = rest.split(second)
    if not (stem.startswith(before) and stem.endswith(after)):
        return
    inner = stem[len(before) : len(stem) - len(after)]
    at = inner.find(between)
    while at >= 0:
        found = {first: inner[:at], second: inner[at + len(between) :]}
        yield found["target"], found["source"]
        at = inner.find(between, at + 1)


def _person_of(swap: Path, people: Mapping[str, Person]) -> list[str]:
    if len(people) == 1:
        return list(people)
    return [name for name in (swap.stem, swap.parent.name) if name in people][:1]


def _choose(targets: Sequence[Media], swap: Media) -> Media:
    of_kind = [one for one in targets if one.kind == swap.kind] or list(targets)
    same_folder = [one for one in of_kind if one.path.parent.name == swap.path.parent.name]
    return (same_folder or of_kind)[0]


def _by_path(media: Sequence[Media]) -> dict[str, Media]:
    """Return files by every way to name them: the end of their path, with and without suffix."""
    found: dict[str, Media] = {}
    for one in media:
        for path in (one.path, one.path.with_suffix("")):
            for start in range(len(path.parts)):
                found.setdefault("/".join(path.parts[start:]), one)
    return found


def _look_up(known: Mapping[str, Media], name: str | None, file: Path, line: int, key: str) -> Media:
    found = known.get(Path(name or "").as_posix())
    if found is None:
        raise UserError(f"{file}, line {line}: task.{key} has no {name or 'name'}; check the name")
    return found


def _refuse(names: Sequence[str], count: int, key: str, what: str, pattern: str, hint: str = "") -> None:
    if names:
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        raise UserError(
            f"{key}: {len(names)} of {count} files have {what} ({shown}); name them as the target, or {pattern} "
            f"(task.names), or list them in task.pairs=<csv>{hint}"
        )
