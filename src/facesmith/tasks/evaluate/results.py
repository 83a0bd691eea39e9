"""Pairs with their results, which stay on disk: in order, ranked, and as CSV."""

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from facesmith.tasks.evaluate.journal import Journal
from facesmith.tasks.evaluate.measuring import PairResult
from facesmith.tasks.evaluate.pairs import Pair


class MeasuredPairs:
    """Pairs and their results.

    Args:
        pairs: In the order of tables.
        journal: Holds results by `pair_key`; None for no pairs.
        lost: Results that are not kept: pairs that the next evaluation tries again.
    """

    def __init__(
        self, pairs: Sequence[Pair], journal: Journal | None, lost: Mapping[str, PairResult] | None = None
    ) -> None:
        self.pairs, self._journal, self._lost = list(pairs), journal, lost or {}
        self._keys = [pair_key(pair) for pair in pairs]

    def results(self) -> Iterator[PairResult]:
        """Yield the results in the order of the pairs."""
        if self._journal is None:
            return
        kept = self._journal.read([key for key in self._keys if key not in self._lost])
        for key in self._keys:
            yield self._lost[key] if key in self._lost else next(kept)

    def rank(self, count: int) -> tuple[list[tuple[Pair, PairResult]], list[tuple[Pair, PairResult]]]:
        """Return the worst and the best pairs, so many of each, none in both."""
        ranked = sorted((_standing(result), i) for i, result in enumerate(self.results()) if not result.failed)
        worst = min(count, (len(ranked) + 1) // 2)
        best = min(count, len(ranked) - worst)
        chosen = [i for _, i in ranked[::-1][:worst]], [i for _, i in ranked[:best]]
        return self._take(chosen[0]), self._take(chosen[1])

    def _take(self, rows: Sequence[int]) -> list[tuple[Pair, PairResult]]:
        if self._journal is None:
            return []
        found = self._journal.read([self._keys[row] for row in rows])
        return [(self.pairs[row], result) for row, result in zip(rows, found, strict=True)]


def pair_key(pair: Pair) -> str:
    """Return a hash that changes with the files of a pair."""
    facts: list[object] = [pair.name, pair.person]
    for path in (pair.swap.path, pair.target.path):
        status = path.stat()
        facts += [str(path.resolve()), status.st_size, status.st_mtime_ns]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def to_csv(sets: Mapping[str, MeasuredPairs], figures: Sequence[str]) -> str:
    """Return a table of all pairs, one a row, what was not measured empty.

    Args:
        sets: By name, which stands in the first column.
        figures: Names of the columns.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["set", "pair", "swap", "target", "source", "frames", "reason", "failed", *figures])
    for name, measured in sets.items():
        for pair, one in zip(measured.pairs, measured.results(), strict=True):
            facts = [name, pair.name, pair.swap.path, pair.target.path, pair.person, one.frames, one.reason, one.failed]
            writer.writerow([*facts, *(one.figures.get(figure, "") for figure in figures)])
    return text.getvalue()


def _standing(result: PairResult) -> tuple[float, float, int, float]:
    """Return a sort key, the best first."""
    figures = result.figures
    reasons = len(result.reason.split("), ")) if result.reason else 0
    similar = [v for k, v in figures.items() if k.startswith("similarity_") and "_target_" not in k]
    last = figures.get("distance_dlib", -float(np.mean(similar)) if similar else 0.0)
    return figures.get("miss_rate", 0.0), -figures.get("accepted", 0.0), reasons, last
