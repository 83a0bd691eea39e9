"""CASIA FaceSwapping (arXiv 2605.00883): figures of a folder of swaps, or of a model, by the published protocol.

    python benchmarks/casia.py --data CASIA_FaceSwapping --pairs benchmark --weights pretrained_models --swaps swaps/ada
    python benchmarks/casia.py ... --model inswapper_128.onnx --make swaps/inswapper       one-shot, by a profile
    python benchmarks/casia.py ... --model identity --per-person trainer.max_epochs=30 --make swaps/ours

Data, pair lists and weights are those of the benchmark's authors: `faces/<person>-<video>_<frame>.png`,
`faces_landmarks/` with five points each, `image_pairs_<protocol>.txt` with `source target` a line. Swaps lie in
`<swaps>/all_simple`, `all_cross_ethnicity` and `all_cross_attribute`, named `<source>-<target>.png`. Without
`--weights` no published figure can be had: the pairs are then measured by `task=evaluate` and labelled as such.

ID retrieval: CosFace, aligned by the target's five points, cosine, nearest of the frames `<person>-0_0` of all people.
ID similarity: cosine to the source picture. Pose: L2 of HopeNet's yaw, pitch and roll at 224 px. Expression: L2 of ten
numbers of 3DDFA at 120 px, and of 29 numbers of the network that the authors call FaceWarehouse at 224 px, aligned by
the target's five points. The project's page has one expression a method and does not say by which of the two: it stands
beside the method's name. FID: 2048 features at 256 px, of all faces and the swaps. Not measured: the SSIM to the
source, of which the page has none. Videos: `casia_videos.py`.
"""

import argparse
import csv
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.errors import UserError
from facesmith.media.images import read_image
from published_protocol import ReferenceNetworks, Row, parse_arguments, print_table, swap_targets

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]
Pair = tuple[str, str]
"""Names of the source and the target picture, without suffix."""

PROTOCOLS = {"normal": "all_simple", "cross_ethnicity": "all_cross_ethnicity", "cross_attribute": "all_cross_attribute"}
PUBLISHED: dict[
    str, dict[str, tuple[float, ...]]
] = {  # retrieval, similarity, pose, expression, FID: the project's page
    "normal": {
        "InsightFace": (96.92, 0.73, 2.84, 2.64, 30.50),
        "HifiFace": (93.37, 0.62, 3.59, 3.12, 20.40),
        "SimSwap": (90.00, 0.61, 2.14, 2.43, 21.75),
        "FaceShifter": (66.41, 0.44, 5.26, 3.64, 169.11),
    },
    "cross_ethnicity": {
        "InsightFace": (97.19, 0.71, 2.97, 2.87, 32.32),
        "HifiFace": (93.23, 0.60, 3.66, 3.29, 21.73),
        "SimSwap": (90.74, 0.58, 2.21, 2.63, 24.01),
        "FaceShifter": (66.36, 0.43, 5.32, 3.78, 172.31),
    },
    "cross_attribute": {
        "InsightFace": (95.14, 0.67, 3.22, 2.62, 15.86),
        "HifiFace": (83.57, 0.57, 4.12, 3.14, 9.93),
        "SimSwap": (81.50, 0.55, 2.43, 2.42, 7.86),
        "FaceShifter": (56.09, 0.40, 6.38, 3.67, 151.61),
    },
}


class Dataset:
    """The faces and their five points."""

    def __init__(self, folder: Path) -> None:
        self.faces, self._points = folder / "faces", folder / "faces_landmarks"
        for part in (self.faces, self._points):
            if not part.is_dir():
                raise UserError(f"--data {folder}: lacks {part.name}/; give the folder of CASIA FaceSwapping")

    def face(self, name: str) -> Pixels:
        """Read a face, (H,W,3) RGB."""
        return read_image(self.faces / f"{name}.png")

    def keypoints(self, name: str) -> Floats:
        """Read the five points of a face, (5,2) px."""
        file = self._points / f"{name}.txt"
        try:
            found = np.loadtxt(file, usecols=(0, 1))
        except (OSError, ValueError, IndexError) as error:
            raise UserError(f"{file}: holds no five points ({error}); give faces_landmarks/ of the benchmark") from None
        if found.shape != (5, 2):
            raise UserError(f"{file}: holds {len(found)} points, not five; give faces_landmarks/ of the benchmark")
        return found

    def people(self) -> dict[str, str]:
        """Return the picture of each person of the gallery, by person."""
        names = sorted(path.stem for path in self.faces.glob("*-0_0.png"))
        if len(names) < 2:
            raise UserError(f"{self.faces}: shows fewer than two people (<person>-0_0.png)")
        return {name.split("-")[0]: name for name in names}


def main() -> None:
    """Print a table a protocol."""
    arguments = _arguments()
    data = Dataset(arguments.data)
    lists = {name: read_pairs(arguments.pairs / f"image_pairs_{name}.txt") for name in arguments.protocols}
    swaps = arguments.swaps or arguments.make
    if arguments.model:
        for name, pairs in lists.items():
            make_swaps(arguments.model, pairs, data, swaps / PROTOCOLS[name], swaps / ".work", arguments.per_person)
    found = {name: find_swaps(swaps / PROTOCOLS[name], pairs, name) for name, pairs in lists.items()}
    kind = "one-shot" if arguments.per_person is None else "per-person"
    if arguments.weights is None:
        for name, files in found.items():
            measure_ourselves(files, data, swaps / f"evaluation_{name}")
        return
    networks = ReferenceNetworks(arguments.weights, arguments.sha256)
    names, embeddings = embed_people(networks, data)
    print(f"gallery: {len(names)} people")
    for protocol, files in found.items():
        row = measure(networks, files, data, (names, embeddings), Row(swaps.name, kind))
        print_table(f"{protocol}, {len(files)} of {len(lists[protocol])} pairs", [row], show_published(protocol))


def show_published(protocol: str) -> dict[str, tuple[float, ...]]:
    """Return the published figures in the order of COLUMNS; the expression by a network that is not said apart."""
    rows = {}
    for method, (retrieval, similarity, pose, expression, fid) in PUBLISHED[protocol].items():
        rows[f"{method} (expression {expression:g})"] = (retrieval, similarity, pose, math.nan, math.nan, fid)
    return rows


def read_pairs(file: Path) -> list[Pair]:
    """Read a list of pairs."""
    try:
        lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        return [(Path(source).stem, Path(target).stem) for source, target in lines]
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: is no list of pairs, `source target` a line ({error})") from None


def find_swaps(folder: Path, pairs: list[Pair], protocol: str) -> dict[Pair, Path]:
    """Find the swap of each pair; what is missing is told, never left out in silence."""
    files = {pair: folder / f"{pair[0]}-{pair[1]}.png" for pair in pairs}
    found = {pair: file for pair, file in files.items() if file.is_file()}
    if not found:
        first = next(iter(files.values()), folder)
        raise UserError(
            f"{folder}: holds no swap of the {len(pairs)} pairs of {protocol}; the first would be {first.name}"
        )
    if len(found) < len(files):
        print(f"{protocol}: {len(files) - len(found)} of {len(files)} pairs have no swap: NOT the published protocol")
    return found


def embed_people(networks: ReferenceNetworks, data: Dataset) -> tuple[list[str], Floats]:
    """Embed the gallery: names, and embeddings (G,1024)."""
    people = data.people()
    rows = [networks.cosface.embed(data.face(name), data.keypoints(name)) for name in people.values()]
    return list(people), np.stack(rows)


def measure(
    networks: ReferenceNetworks, files: Mapping[Pair, Path], data: Dataset, gallery: tuple[list[str], Floats], row: Row
) -> Row:
    """Measure swaps by the published protocol."""

    @cache
    def embed(name: str) -> Floats:
        return networks.cosface.embed(data.face(name), data.keypoints(name))

    for (source, target), file in files.items():
        was = data.face(target)
        swapped = read_image(file)
        person = source.split("-")[0]
        if person not in gallery[0]:
            raise UserError(f"{file.name}: {person} is not in the gallery; faces/ lacks {person}-0_0.png")
        sized = np.asarray(cv2.resize(swapped, (was.shape[1], was.shape[0])), np.uint8)
        row.add(networks, (sized, data.keypoints(target)), (swapped, was), embed(source), gallery, person, was)
    faces = (read_image(path) for path in sorted(data.faces.glob("*.png")))
    row.fid = networks.frechet(faces, map(read_image, files.values()), size=256)
    return row


def make_swaps(
    model: str, pairs: list[Pair], data: Dataset, output: Path, work: Path, training: list[str] | None
) -> None:
    """Swap every pair that has no swap yet, source after source."""
    targets_of: dict[str, list[str]] = defaultdict(list)
    for source, target in pairs:
        if not (output / f"{source}-{target}.png").exists():
            targets_of[source].append(target)
    for source, targets in targets_of.items():
        person = source.lower().replace(".", "-")
        folder = work / person
        _link(folder / "targets", ((f"{target}.png", data.faces / f"{target}.png") for target in targets))
        # a training may see all frames of the source's video; one-shot swaps see the one picture
        frames = (
            [source] if training is None else sorted(p.stem for p in data.faces.glob(f"{source.split('_')[0]}_*.png"))
        )
        _link(folder / "source", ((f"{name}.png", data.faces / f"{name}.png") for name in frames))
        swap_targets(model, folder / "source", folder / "targets", folder / "swaps", folder, person, training)
        output.mkdir(parents=True, exist_ok=True)
        for target in targets:
            (folder / "swaps" / f"{target}.png").replace(output / f"{source}-{target}.png")


def _link(folder: Path, files: Iterator[tuple[str, Path]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files:
        if not (folder / name).exists():
            (folder / name).symlink_to(file.resolve())


def measure_ourselves(files: Mapping[Pair, Path], data: Dataset, output: Path) -> None:
    """Measure swaps by `task=evaluate`, whose figures are not the benchmark's."""
    from facesmith.cli.main import main as facesmith

    output.mkdir(parents=True, exist_ok=True)
    with (output / "list.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["swap", "target", "source"])
        rows.writerows((path.name, f"{target}.png", source) for (source, target), path in files.items())
    sources = output / "sources"
    _link(sources, ((f"{source}.png", data.faces / f"{source}.png") for source, _ in files))
    print("no --weights: figures of task=evaluate, not to be compared with the published ones")
    folder = next(iter(files.values())).parent
    given = [f"swaps={folder}", f"targets={data.faces}", f"sources={sources}", f"pairs={output / 'list.csv'}"]
    if facesmith(["infer", "task=evaluate", *given, f"output={output}"]):
        raise UserError(f"{output}: the evaluation ended with a mistake, see above")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of faces/ and faces_landmarks/")
    parser.add_argument("--pairs", type=Path, required=True, help="folder of the lists of pairs")
    parser.add_argument("--weights", type=Path, help="folder of the published weights")
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    return parse_arguments(parser)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
