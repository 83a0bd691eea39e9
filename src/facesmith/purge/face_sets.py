"""A person's traces in the face sets: their own, those of a crowd, scenes they appear in, and caches."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import META
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.purge.removal import Trace
from facesmith.purge.runs import find_run_folders

TRAINING = "training"


@dataclass(frozen=True)
class FaceSetFolder:
    """A finished face set: its folder and the content of its meta.json."""

    path: Path
    meta: dict[str, Any]

    @property
    def contents(self) -> set[str]:
        """The sha256 of each source."""
        return {source["sha256"] for source in self.meta.get("sources", [])}


def find_face_sets(root: Path) -> Iterator[FaceSetFolder]:
    """Return the finished sets under a folder; what cannot be read is none."""
    for file in sorted(root.rglob(META)):
        try:
            meta = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(meta, dict) and "key" in meta:
            yield FaceSetFolder(file.parent, meta)


def traces_in_face_sets(name: str, root: Path) -> tuple[list[Trace], set[str]]:
    """Find the face sets that hold a person's face, and the keys of the person's own sets.

    Args:
        name: The identity.
        root: Folder of face sets.
    """
    sets = list(find_face_sets(root))
    own = [one for one in sets if one.meta.get("name") == name]
    folders = {root / name} if (root / name).exists() or (root / name).is_symlink() else set()
    folders |= {one.path.parent for one in own if not _beneath(one.path, folders)}
    keys = {str(one.meta["key"]) for one in own}
    contents: set[str] = set().union(*(one.contents for one in own))
    traces = [Trace("face set", (folder, *_target(folder)), _count(folder, sets)) for folder in sorted(folders)]
    rest = [one for one in sets if not _beneath(one.path, folders)]
    crowds = {folder.parent for folder in folders if folder.parent != root}
    for one in rest:
        if not one.contents & contents:
            continue
        scenes = one.meta.get("settings", {}).get("people") == "many"
        why = "scenes made from the same pictures" if scenes else "the same pictures under another name"
        other = one.path.relative_to(root).parts[0] if scenes else str(one.meta.get("name"))
        traces.append(Trace("face set", (one.path,), why, other))
    caches = [one.path / TRAINING for one in rest if _beneath(one.path, crowds) and (one.path / TRAINING).is_dir()]
    traces += [
        Trace("cache", (cache,), "training pairs in which the person may appear; made again when needed")
        for cache in caches
    ]
    taken = {path for trace in traces if trace.shared_with for path in trace.files}
    houses = {
        path.parent.parent: trace.shared_with
        for trace in traces
        if trace.shared_with
        for path in trace.files
        if "scenes" in trace.why
    }
    for one in rest:
        house = next((house for house in houses if one.path.is_relative_to(house)), None)
        cache = one.path / TRAINING
        if house is not None and one.path not in taken and cache not in caches and cache.is_dir():
            why = "training pairs with such scenes; made again when needed"
            traces.append(Trace("cache", (cache,), why, houses[house]))
    return traces, keys


def _beneath(path: Path, folders: set[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _target(folder: Path) -> tuple[Path, ...]:
    """Where a link leads: the faces lie there."""
    return (folder.resolve(),) if folder.is_symlink() and folder.exists() else ()


def _count(folder: Path, sets: Sequence[FaceSetFolder]) -> str:
    sets = [one for one in sets if _beneath(one.path, {folder})]
    kept = sum(int(one.meta.get("kept", 0)) for one in sets)
    unfinished = len(list(folder.glob("*.partial")))
    return f"{len(sets)} finished, {kept} faces" + (f", {unfinished} unfinished" if unfinished else "")


@dataclass(frozen=True)
class Expiry:
    """An identity, the last day its consent is valid, and the file that states it."""

    identity: str
    expires: date
    where: Path


def expiries(face_sets: Path, profiles: Path, runs: Path) -> Iterator[Expiry]:
    """Yield every date until which consent holds, as face sets, profiles and runs state it.

    Args:
        face_sets: Folder of face sets.
        profiles: Folder of profiles.
        runs: Folder of runs.
    """
    for one in find_face_sets(face_sets):
        if one.meta.get("settings", {}).get("people") == "many":
            continue  # scenes: the date is that of the person they were taken for
        yield from _stated(one.meta.get("name"), one.meta.get("expires"), one.path)
    for path in sorted(profiles.glob("*.json")):
        try:
            profile = IdentityProfile.load(path, expired="allow")
        except UserError:
            continue
        yield from _stated(profile.id, profile.expires, path)
    for run in find_run_folders(runs):
        yield from _stated(run.identity, (run.settings.get("data") or {}).get("expires"), run.path)


def expired(found: Iterator[Expiry], today: date) -> dict[str, list[Expiry]]:
    """Group expired consents by identity.

    Args:
        found: As `expiries` yields them.
        today: The day for which it is asked.
    """
    over: dict[str, list[Expiry]] = {}
    for one in found:
        if one.expires < today:
            over.setdefault(one.identity, []).append(one)
    return dict(sorted(over.items()))


def _stated(identity: object, expires: object, where: Path) -> Iterator[Expiry]:
    try:
        yield Expiry(str(identity), date.fromisoformat(str(expires)), where)
    except ValueError:
        return
