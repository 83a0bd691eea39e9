"""Whose consent has run out."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from facesmith.errors import UserError
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.purge.face_sets import known_sets
from facesmith.purge.runs import known_runs


@dataclass(frozen=True)
class Expiry:
    """An identity, the last day its consent holds, and where that is said."""

    identity: str
    expires: date
    where: Path


def expiries(face_sets: Path, profiles: Path, runs: Path) -> Iterator[Expiry]:
    """Give every date that a face set, a profile or a run states."""
    for one in known_sets(face_sets):
        if one.meta.get("settings", {}).get("people") == "many":
            continue  # scenes: the date is that of the person they were taken for
        yield from _stated(one.meta.get("name"), one.meta.get("expires"), one.path)
    for path in sorted(profiles.glob("*.json")):
        try:
            profile = IdentityProfile.load(path)
        except UserError:
            continue
        yield from _stated(profile.id, profile.expires, path)
    for run in known_runs(runs):
        yield from _stated(run.identity, (run.settings.get("data") or {}).get("expires"), run.path)


def past(found: Iterator[Expiry], today: date) -> dict[str, list[Expiry]]:
    """Give those whose day is over, by identity."""
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
