"""Files of two folders that belong together, by their paths."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Pairing:
    """Which of our files goes with which of theirs.

    Attributes:
        pairs: Ours to theirs, in the order of ours.
        missing: Ours without a partner.
        stray: Theirs without a partner.
        ambiguous: Ours with several partners that are equally near, and those.
    """

    pairs: dict[Path, Path] = field(default_factory=dict)
    missing: list[Path] = field(default_factory=list)
    stray: list[Path] = field(default_factory=list)
    ambiguous: dict[Path, list[Path]] = field(default_factory=dict)


def pair_by_path(ours: Sequence[Path], theirs: Sequence[Path], name: Callable[[Path], str]) -> Pairing:
    """Pair files of one name; of several the one whose folders agree furthest up.

    `swapped/a/scene.mp4` goes with `films/a/scene.mp4`, not with `films/b/scene.mp4`. A file is taken once.

    Args:
        ours: Files that want a partner.
        theirs: Files to choose from.
        name: What partners have in common, without their folders.
    """
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    for path in theirs:
        by_name[name(path)].append(path)
    found = Pairing()
    taken: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in ours:
        candidates = by_name.get(name(path), [])
        near = [_shared_folders(path, other) for other in candidates]
        best = [other for other, depth in zip(candidates, near, strict=True) if depth == max(near)]
        if not best:
            found.missing.append(path)
        elif len(best) > 1:
            found.ambiguous[path] = best
        else:
            taken[best[0]].append(path)
    for other, wanting in taken.items():
        depths = [_shared_folders(path, other) for path in wanting]
        nearest = [path for path, depth in zip(wanting, depths, strict=True) if depth == max(depths)]
        for path in wanting:
            if nearest == [path]:
                found.pairs[path] = other
            elif path in nearest:
                found.ambiguous[path] = [other]
            else:
                found.missing.append(path)
    used = {*found.pairs.values(), *(other for each in found.ambiguous.values() for other in each)}
    found.stray.extend(path for path in theirs if path not in used)
    return found


def _shared_folders(path: Path, other: Path) -> int:
    count = 0
    for a, b in zip(reversed(path.absolute().parent.parts), reversed(other.absolute().parent.parts), strict=False):
        if a != b:
            break
        count += 1
    return count
