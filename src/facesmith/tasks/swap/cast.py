"""A cast: several models in one pass, each for faces of its own; a single model is a cast of one."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.files import file_sha256
from facesmith.media.provenance import Mark
from facesmith.tasks.swap.canvas import Canvas
from facesmith.tasks.swap.config import CastEntry
from facesmith.tasks.swap.face_selection import Claim, SelectedFace, reference_embedding, threshold_for
from facesmith.tasks.swap.frame_swap import FrameSwapper, SwappedFace, load_frame_swapper

Loader = Callable[[CastEntry, Callable[[], Analyzer]], FrameSwapper]
"""Loads the model of an entry; the second argument makes the analyzer that finds the face in a source photo."""


def load_entry(entry: CastEntry, analyzer: Callable[[], Analyzer]) -> FrameSwapper:
    """Load all that swapping like an entry needs.

    Args:
        entry: Its settings.
        analyzer: Makes the analyzer that finds the face in a source photo.

    Raises:
        UserError: A file is missing or of another contract, or the identity is missing or does not fit the model.
    """
    return load_frame_swapper(entry.model, entry, analyzer=analyzer, profile=entry.profile)


class Cast:
    """Models and whose faces they replace; may be called from several threads.

    Attributes:
        entries: The settings of each.
        swappers: The model of each.
        claims: Which faces go to each.
    """

    def __init__(
        self,
        entries: Sequence[CastEntry],
        *,
        analyzer: Callable[[], Analyzer],
        watch: Analyzer,
        load: Loader = load_entry,
    ) -> None:
        """Load the models and find out who their targets are.

        Args:
            entries: The settings; their order is that of the numbers in messages.
            analyzer: Makes the analyzer that finds the face in a source photo.
            watch: Embeds the persons of the targets.
            load: Loads the model of an entry.

        Raises:
            UserError: A file is missing or of another contract, a profile or photo does not fit, or two entries name
                one person.
        """
        self.entries = list(entries)
        self.claims = [self._find_claim(number, watch) for number in range(len(entries))]
        self._require_different_people()
        self.swappers = [self._load(number, load, analyzer) for number in range(len(entries))]
        self._hashes = [file_sha256(entry.model) for entry in entries]

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def recognises(self) -> bool:
        """Whether faces need embeddings to be told apart."""
        return any(not isinstance(claim.target, str) for claim in self.claims)

    @property
    def names(self) -> list[str]:
        """Whom each entry shows, made distinct by its number where two show one person."""
        names = [swapper.source.identity or entry.model.stem for swapper, entry in self._pairs()]
        return [name if names.count(name) == 1 else f"{name} ({i})" for i, name in enumerate(names)]

    def swap_in_place(self, work: Sequence[tuple[Canvas, Sequence[SelectedFace]]]) -> None:
        """Swap faces of several pictures; each model gets all of its own as one batch.

        Args:
            work: Pictures, which are changed, and their faces; where they overlap, the first is on top.
        """
        jobs = [(canvas, one) for canvas, faces in work for one in faces]
        drawn: dict[int, SwappedFace] = {}
        for entry, swapper in enumerate(self.swappers):
            own = [i for i, (_, one) in enumerate(jobs) if one.entry == entry]
            drawn |= zip(own, swapper.draw([(jobs[i][0], jobs[i][1].face) for i in own]), strict=True)
        for i in reversed(range(len(jobs))):
            canvas, one = jobs[i]
            self.swappers[one.entry].paste(canvas, drawn[i])

    def mark(self, title: str) -> Mark:
        """Return the provenance mark of what is written.

        Args:
            title: What it is, in a few words.
        """
        sources = [swapper.source for swapper in self.swappers]
        adapters = [swapper.adapters.name for swapper in self.swappers if swapper.adapters]
        return Mark(
            identity=",".join(dict.fromkeys(source.identity for source in sources)),
            consent=",".join(dict.fromkeys(source.consent for source in sources)),
            model_hash=",".join(dict.fromkeys(self._hashes)),
            title=title,
            adapter=",".join(dict.fromkeys(adapters)),
        )

    def facts(self) -> list[object]:
        """Return everything of the cast that determines the frames of a video, as plain values."""
        facts: list[object] = []
        for entry, swapper, claim, digest in zip(self.entries, self.swappers, self.claims, self._hashes, strict=True):
            target = claim.target.tolist() if isinstance(claim.target, np.ndarray) else claim.target
            facts += [digest, entry.profile, target, claim.threshold, sorted(entry.frame_settings().items())]
            facts += [swapper.adapters.facts()] if swapper.adapters else []
        return facts

    def describe(self, number: int) -> str:
        """Return an entry as messages name it."""
        entry = self.entries[number]
        return f"entry {number} of the cast ({entry.model}, target={entry.target})"

    def _pairs(self) -> list[tuple[FrameSwapper, CastEntry]]:
        return list(zip(self.swappers, self.entries, strict=True))

    def _find_claim(self, number: int, watch: Analyzer) -> Claim:
        entry = self.entries[number]
        if entry.target in ("largest", "all"):
            return Claim("largest" if entry.target == "largest" else "all")
        threshold = threshold_for(entry.select_threshold, watch.embedder)
        if isinstance(entry.target, int):
            return Claim(entry.target, threshold)
        key = "task.reference" if len(self.entries) == 1 else f"task.cast.{number}.target"
        return Claim(reference_embedding(Path(entry.target).expanduser(), watch, key), threshold)

    def _require_different_people(self) -> None:
        people = {i: one for i, one in enumerate(self.claims) if isinstance(one.target, np.ndarray)}
        for i, first in people.items():
            for j, second in people.items():
                alike = float(np.dot(np.asarray(first.target), np.asarray(second.target)))
                if i < j and alike >= max(first.threshold, second.threshold):
                    raise UserError(
                        f"task.cast: entries {i} and {j} claim one face: {self.entries[i].target} and "
                        f"{self.entries[j].target} show one person (similarity {alike:.2f}); leave one out, or raise "
                        "the select_threshold of both where they are two"
                    )

    def _load(self, number: int, load: Loader, analyzer: Callable[[], Analyzer]) -> FrameSwapper:
        try:
            return load(self.entries[number], analyzer)
        except UserError as error:
            if len(self.entries) == 1:
                raise
            # The keys that a message names are those of the entry.
            raise UserError(re.sub(r"\btask\.(?=\w+[=:])", f"task.cast.{number}.", str(error))) from error
