"""What is known of the people of an evaluation, a file a person, so that a stopped evaluation need not find it anew."""

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from facesmith import __version__
from facesmith.files import atomic_write, make_private_folder
from facesmith.tasks.evaluate.pairs import Person
from facesmith.tasks.evaluate.people import KnownPerson

_FACTS: Final = ("name", "digests", "notes", "crowded")


class PeopleStore:
    """People on disk, by their files and by who embeds them.

    Args:
        folder: One .npz a person; it is made.
        settings: What decides how a person is embedded.
        resume: False keeps nothing that was known before.
    """

    def __init__(self, folder: Path, settings: Sequence[object], *, resume: bool) -> None:
        self._folder, self._settings, self._resume = folder, [__version__, *settings], resume
        make_private_folder(folder)

    def key(self, person: Person) -> str:
        """Return a hash that changes with the person's files and with the settings."""
        facts: list[object] = [self._settings, person.name]
        for path in (*(media.path for media in person.media), *([person.profile] if person.profile else [])):
            status = path.stat()
            facts += [str(path.resolve()), status.st_size, status.st_mtime_ns]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def load(self, person: Person) -> KnownPerson | None:
        """Return what is known of a person; None where nothing is. Profiles depend on their face sets: none is kept."""
        if not self._resume or person.profile is not None:
            return None
        try:
            with np.load(self._path(person), allow_pickle=False) as content:
                facts = json.loads(str(content["facts"]))
                ends = np.cumsum(content["lengths"]).tolist()
                packed = content["pictures"].tobytes()
                return KnownPerson(
                    facts["name"],
                    {name: content[f"embedding_{name}"] for name in facts["recognisers"]},
                    tuple(packed[start:end] for start, end in zip([0, *ends], ends, strict=False)),
                    content["landmarks"],
                    content["blendshapes"],
                    frozenset(facts["digests"]),
                    tuple(facts["notes"]),
                    bool(facts["crowded"]),
                )
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
            return None

    def save(self, person: Person, known: KnownPerson) -> None:
        """Keep what is known of a person."""
        if person.profile is not None:
            return
        facts = {name: getattr(known, name) for name in _FACTS} | {"recognisers": list(known.embeddings)}
        facts["digests"] = sorted(known.digests)
        with atomic_write(self._path(person)) as temporary:
            np.savez(
                temporary,
                facts=np.array(json.dumps(facts)),
                lengths=np.array([len(one) for one in known.pictures], np.int64),
                pictures=np.frombuffer(b"".join(known.pictures), np.uint8),
                landmarks=known.landmarks,
                blendshapes=known.blendshapes,
                allow_pickle=False,
                **{f"embedding_{name}": value for name, value in known.embeddings.items()},
            )

    def _path(self, person: Person) -> Path:
        return self._folder / f"{self.key(person)[:32]}.npz"
