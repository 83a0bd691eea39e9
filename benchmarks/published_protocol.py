"""What `casia.py` and `ffpp.py` share: the figures of a published protocol, and swaps made by a model."""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from facesmith.errors import UserError
from facesmith.metrics.retrieval import retrieval_rank
from facesmith.metrics.statistics import Estimate, estimate
from facesmith.tasks.evaluate.frechet import load_inception
from reference_networks import (
    COSFACE,
    DDFA,
    FACEWAREHOUSE,
    HOPENET,
    INCEPTION,
    MEAN_FACE,
    CosFace,
    Ddfa,
    FaceWarehouse,
    HopeNet,
    load_weights,
    read_mean_face,
)

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]

COLUMNS = {
    "retrieval": "ID retrieval",
    "similarity": "ID similarity",
    "pose": "pose, degrees",
    "expression": "expression, 3DDFA",
    "facewarehouse": "expression, FaceWarehouse",
    "fid": "FID",
}


class ReferenceNetworks:
    """The published networks with the user's weights; their sha256 are printed.

    Args:
        folder: Holds the weights under their published names; FID and the expression by FaceWarehouse are left out
            where theirs are missing.
        expected: `<file>=<sha256>` that weights must have; others are refused.

    Raises:
        UserError: Weights are missing, are others, or are none.
    """

    def __init__(self, folder: Path, expected: Sequence[str] = ()) -> None:
        self.cosface, self.hopenet, self.ddfa = CosFace(), HopeNet(), Ddfa()
        for name, network in ((COSFACE, self.cosface), (HOPENET, self.hopenet), (DDFA, self.ddfa)):
            load_told(network, folder / name, expected)
        self.facewarehouse: FaceWarehouse | None = None
        missing = [name for name in (FACEWAREHOUSE, MEAN_FACE) if not (folder / name).exists()]
        if missing:
            print(f"weights {' and '.join(missing)}: not there, the expression by FaceWarehouse is not measured")
        else:
            self.facewarehouse = FaceWarehouse(read_mean_face(folder / MEAN_FACE))
            load_told(self.facewarehouse, folder / FACEWAREHOUSE, expected)
        self.inception = folder / INCEPTION if (folder / INCEPTION).exists() else None
        if self.inception is None:
            print(f"weights {INCEPTION}: not there, FID is not measured")

    def frechet(self, real: Iterable[Pixels], swapped: Iterable[Pixels], size: int) -> float:
        """Measure FID with 2048 features of pictures brought to a size; nan without Inception."""
        if self.inception is None:
            return float("nan")
        metric, _ = load_inception(self.inception)
        metric.set_dtype(torch.float64)
        for pictures, is_real in ((real, True), (swapped, False)):
            for picture in pictures:
                _update(metric, picture, size, is_real)
        return float(metric.compute())


def load_told(network: nn.Module, path: Path, expected: Sequence[str], parts: tuple[str, ...] = ()) -> None:
    """Load weights as `load_weights` does, print their sha256, and refuse others than expected.

    Args:
        network: Its weights are replaced.
        path: The file.
        expected: `<file>=<sha256>` that weights must have.
        parts: As of `load_weights`.

    Raises:
        UserError: As `load_weights`, or the file has another sha256.
    """
    digest = load_weights(network, path, parts)
    print(f"weights {path.name}: sha256 {digest}")
    wanted = dict(one.partition("=")[::2] for one in expected).get(path.name, digest)
    if wanted != digest:
        raise UserError(f"{path}: sha256 is {digest}, not {wanted}; give the published weights")


def _update(metric: FrechetInceptionDistance, picture: Pixels, size: int, is_real: bool) -> None:
    given = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
    scaled = torch.nn.functional.interpolate(given, (size, size), mode="bilinear", antialias=True)
    metric.update(scaled.round().clamp(0, 255).byte(), real=is_real)


@dataclass
class Row:
    """Figures of one set of swaps, a value a picture.

    Attributes:
        method: Name.
        kind: one-shot, or per-person.
        values: By key of COLUMNS.
        fid: Of the set.
    """

    method: str
    kind: str
    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in COLUMNS if name != "fid"})
    fid: float = float("nan")

    def add(
        self,
        networks: ReferenceNetworks,
        swap: tuple[Pixels, Floats],
        target: tuple[Pixels, Pixels],
        source: Floats,
        gallery: tuple[Sequence[str], Floats],
        person: str,
        whole: Pixels | None = None,
    ) -> None:
        """Measure a swapped picture.

        Args:
            networks: The published networks.
            swap: The picture (H,W,3) RGB, and the target's keypoints (5,2) px in it.
            target: Crops of the swap and of the target for pose and expression.
            source: Embedding of the source.
            gallery: Names, and embeddings (G,E).
            person: Name of the source in the gallery.
            whole: The target in which the keypoints are, for FaceWarehouse; None: not measured.
        """
        embedding = networks.cosface.embed(*swap)
        names, embeddings = gallery
        found = {
            "retrieval": float(retrieval_rank(embeddings @ embedding, names.index(person)) == 1),
            "similarity": float(embedding @ source),
            "pose": float(np.linalg.norm(np.subtract(*map(networks.hopenet.angles, target)))),
            "expression": float(np.linalg.norm(np.subtract(*map(networks.ddfa.expression, target)))),
        }
        if networks.facewarehouse is not None and whole is not None:
            of = networks.facewarehouse.expression
            found["facewarehouse"] = float(np.linalg.norm(of(*swap) - of(whole, swap[1])))
        for name, value in found.items():
            self.values[name].append(value)

    def estimates(self) -> dict[str, Estimate]:
        """Return the figures with their 95 % intervals."""
        reductions = {name: "share" if name == "retrieval" else "mean" for name in self.values}
        return {name: estimate(np.array(column), reductions[name]) for name, column in self.values.items()}


def print_table(title: str, rows: Sequence[Row], published: Mapping[str, Sequence[float]]) -> None:
    """Print published figures, in the order of COLUMNS and nan where there is none, and rows as a Markdown table."""
    print(f"\n**{title}**\n\n| method | kind | pictures | {' | '.join(COLUMNS.values())} |")
    print("|---|---|---|" + "---|" * len(COLUMNS))
    for method, figures in published.items():
        shown = ("" if np.isnan(figure) else f"{figure:g}" for figure in figures)
        print(f"| {method} | published | | {' | '.join(shown)} |")
    for row in rows:
        cells = []
        for name, one in row.estimates().items():
            if not one.count:
                cells.append("")
                continue
            scale = 100 if name == "retrieval" else 1
            ends = "" if np.isnan(one.low) else f" ({one.low * scale:.2f} to {one.high * scale:.2f})"
            cells.append(f"{one.value * scale:.2f}{ends}")
        fid = "" if np.isnan(row.fid) else f"{row.fid:.2f}"
        print(f"| {row.method} | {row.kind} | {len(row.values['pose'])} | {' | '.join(cells)} | {fid} |")


def swap_targets(
    model: str,
    source: Path,
    targets: Path,
    output: Path,
    scratch: Path,
    person: str,
    training: Sequence[str] | None,
    swapping: Sequence[str] = (),
) -> None:
    """Put one person onto a folder of targets, by `facesmith` itself.

    Args:
        model: A file that takes any identity, or the experiment of a training where `training` is given.
        source: Pictures or a video of the person.
        targets: Folder of pictures or videos.
        output: Folder of the results, which keep the targets' names.
        scratch: Folder of runs and profiles.
        person: Slug of the person.
        training: Overrides of a training for this person; None: one-shot, by a profile of `source`.
        swapping: Overrides of `task=swap`.

    Raises:
        UserError: A command failed.
    """
    paths = [f"paths.{name}={scratch / name}" for name in ("runs", "profiles", "face_sets")]
    consent = "licensed"
    if training is None:
        _facesmith("infer", "task=embed", f"source={source}", f"name={person}", f"task.consent={consent}", *paths)
        chosen = [f"task.model={model}", f"task.profile={scratch / 'profiles' / person}.json"]
    else:
        given = [f"data.source={source}", f"data.name={person}", f"data.consent={consent}"]
        _facesmith("train", f"experiment={model}", *given, *training, *paths)
        files = sorted((scratch / "runs").glob(f"*/{person}/*/exports/*.onnx"))
        if not files:
            raise UserError(f"{scratch / 'runs'}: the training of {person} exported no .onnx")
        chosen = [f"task.model={files[-1]}"]
    given = [f"source={targets}", f"output={output}", "task.fail_when_no_face=false", *swapping]
    _facesmith("infer", "task=swap", *chosen, *given, *paths)


def _facesmith(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "facesmith", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise UserError(f"facesmith {' '.join(arguments[:2])}: {lines[-1]}")


def parse_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add what every protocol takes, whose swaps are measured, and parse the command line.

    Args:
        parser: With the protocol's own arguments.
    """
    parser.add_argument("--sha256", nargs="*", default=[], help="<file>=<sha256> that weights must have")
    parser.add_argument("--swaps", type=Path, help="folder of swaps")
    parser.add_argument("--make", type=Path, help="folder in which --model makes its swaps")
    parser.add_argument("--model", help="a file that takes any identity, or an experiment with --per-person")
    parser.add_argument("--per-person", nargs="*", help="train for each source, with these overrides")
    arguments = parser.parse_args()
    if (arguments.model is None) != (arguments.make is None) or (arguments.swaps is None) == (arguments.make is None):
        parser.error("give either --swaps, or --model and --make")
    return arguments
