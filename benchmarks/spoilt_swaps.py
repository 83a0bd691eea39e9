"""Does the quality gate tell good swaps from spoilt ones? Its limits come from here; docs/gate.md has the table.

    python benchmarks/spoilt_swaps.py                     the table; some four minutes of one core
    python benchmarks/spoilt_swaps.py --sheets <folder>   pictures to look at (numbers only: do not publish them)

Good swaps are GOOD: each was looked at beside its target. Each is spoilt in every way of `spoiling.py`. The limits
were chosen on the people of CHOSEN_ON; the others' figures are the test. Prints for each way the share that the gate
rejects, and the share that each limit rejects, for good swaps and for spoilt ones.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.media.images import write_image
from facesmith.media.provenance import Mark
from facesmith.metrics.limits import LIMITS, find_broken
from facesmith.metrics.recogniser import HeldOutRecogniser
from facesmith.metrics.swap import SwapEvaluator, SwapPictures
from facesmith.metrics.swap_metrics import PictureMetrics
from spoiling import SPOILERS, Material, Swap
from unseen_swaps import make_swaps, read_hands

CHOSEN_ON: Final = ("single_face", "0-f15-hao-ph")
"""People on whose swaps the limits were chosen."""
GOOD: Final = {  # person: targets
    "single_face": (
        *("astronaut_0", "multi_face_0", "multi_face_1", "multi_face_2", "multi_face_4"),
        *("0-f1-su-ph_0", "0-f15-hao-ph_0"),
        *(f"carphone_pristine_{row}" for row in (0, 26, 39, 66, 92, 105)),
        *(f"WolfgangLanger_Pexels_{row}" for row in (65, 78, 91, 104, 117)),
    ),
    "0-f15-hao-ph": (
        *("astronaut_0", "single_face_23", "single_face_39", "single_face_55"),
        *(f"WolfgangLanger_Pexels_{row}" for row in (65, 78, 91, 104)),
    ),
    "WolfgangLanger_Pexels": (
        *("astronaut_0", "t1_1", "Tom_Hanks_54745_0"),
        *("multi_face_0", "multi_face_1", "multi_face_2", "multi_face_4"),
        *("0-f1-su-ph_0", "0-f15-hao-ph_0", "15-f13-anc-ph_0"),
        *(f"single_face_{row}" for row in (0, 15, 23, 39, 71)),
        *(f"carphone_pristine_{row}" for row in (0, 26, 39, 66, 79, 92, 105, 119)),
    ),
}
"""Swaps that a harsh viewer accepts, by eye, of those that `unseen_swaps.py` makes."""


@dataclass(frozen=True)
class Judged:
    """What the gate measured on one picture."""

    way: str
    person: str
    figures: PictureMetrics

    @property
    def broken(self) -> set[str]:
        """Figures beyond their limits."""
        lost = {"nme"} if np.isnan(self.figures.nme) else set()
        return {limit.figure for limit in find_broken(self.figures.values())} | lost


def main() -> None:
    """Make good and spoilt swaps, measure and print."""
    arguments = _arguments()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    cv2.setNumThreads(1)
    analyzer = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.6)
    people, swaps = make_swaps(analyzer)
    material = Material(people, swaps, read_hands(analyzer))
    good = [swap for swap in swaps if swap.name.split(">")[1] in GOOD.get(Path(swap.person).stem, ())]
    random = np.random.default_rng(0)
    pictures: list[tuple[str, Swap]] = [("good", swap) for swap in good]
    for way, spoil in SPOILERS.items():
        pictures += [(way, done) for swap in good if (done := spoil(swap, material, random)) is not None]
    if arguments.sheets:
        draw(arguments.sheets, [("all", swap) for swap in swaps])
        draw(arguments.sheets, pictures)
    recogniser = HeldOutRecogniser()
    evaluators = {name: SwapEvaluator(analyzer, recogniser, people[name]) for name in {swap.person for swap in good}}
    started = time.process_time()
    judged = [
        Judged(way, Path(swap.person).stem, evaluators[swap.person](stack(swap), [swap.name]).pictures[0])
        for way, swap in pictures
    ]
    spent = (time.process_time() - started) / len(judged) * 1000
    analyzer.close()
    for chosen, title in ((True, "limits chosen on"), (False, "not seen when limits were chosen")):
        print(f"\n{title}: {', '.join(sorted({one.person for one in judged if (one.person in CHOSEN_ON) == chosen}))}")
        report([one for one in judged if (one.person in CHOSEN_ON) == chosen])
    print(f"\n{spent:.0f} CPU-ms a picture")


def report(judged: Sequence[Judged]) -> None:
    """Print the tables of one half."""
    good, spoilt = ([one for one in judged if (one.way == "good") == wanted] for wanted in (True, False))
    print(f"| {'':26s} | pictures | rejected | by |\n|---|---|---|---|")
    for way in dict.fromkeys(one.way for one in judged):
        rows = [one for one in judged if one.way == way]
        shares = {limit.figure: share(rows, {limit.figure}) for limit in LIMITS}
        most = sorted(shares, key=lambda name: -shares[name])[:4]
        words = ", ".join(f"{name} {shares[name]:.0%}" for name in most if shares[name] > 0)
        print(f"| {way:26s} | {len(rows)} | {share(rows):.0%} | {words} |")
    print(f"| **all spoilt** | {len(spoilt)} | {share(spoilt):.1%} | |")
    print(
        "\n| figure | limit | good: median | good: worst | good rejected | spoilt rejected |\n|---|---|---|---|---|---|"
    )
    for limit in LIMITS:
        values = np.array([one.figures.values()[limit.figure] for one in good])
        sizes = values if limit.least else np.abs(values)
        worst = np.nanmin(sizes) if limit.least else np.nanmax(sizes)
        shares = [share(rows, {limit.figure}) for rows in (good, spoilt)]
        bound = f"{'at least' if limit.least else 'at most'} {limit.value:g}"
        middle = f"{np.nanmedian(sizes):.3g} | {worst:.3g}"
        print(f"| {limit.figure} | {bound} | {middle} | {shares[0]:.0%} | {shares[1]:.0%} |")
    for one in good:
        if one.broken:
            print(f"good, but rejected: {one.figures.name}: {one.figures.reason}")
    for one in spoilt:
        if not one.broken:
            print(f"{one.way}, but accepted: {one.figures.name}")


def share(rows: Sequence[Judged], figures: set[str] | None = None) -> float:
    """Return the share of pictures that one of the limits rejects."""
    return float(np.mean([bool(one.broken if figures is None else one.broken & figures) for one in rows]))


def stack(swap: Swap) -> SwapPictures:
    """Measure one picture as the gate does."""
    parts = (swap.target.images[0], swap.truth, swap.raw, swap.composite, swap.mask, swap.hull)
    return SwapPictures(*(part[None] for part in parts))


def draw(folder: Path, pictures: Sequence[tuple[str, Swap]]) -> None:
    """Write a sheet a way and person: each target with its swap."""
    mark = Mark(identity="benchmark", consent="licensed", model_hash=None, title="sheet of a benchmark")
    for way, person in dict.fromkeys((way, swap.person) for way, swap in pictures):
        cells = []
        for swap in (swap for kind, swap in pictures if (kind, swap.person) == (way, person)):
            cell = np.hstack([swap.target.images[0], swap.composite])
            cv2.putText(cell, swap.name.split(">")[1], (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 0))
            cells.append(cell)
        cells += [np.zeros_like(cells[0])] * (-len(cells) % 4)
        sheet = np.vstack([np.hstack(cells[i : i + 4]) for i in range(0, len(cells), 4)])
        write_image(folder / f"{way.replace(' ', '_')}_{Path(person).stem}.png", sheet, mark=mark)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheets", type=Path, help="folder for sheets of all pictures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
