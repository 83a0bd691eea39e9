"""CASIA FaceSwapping (arXiv 2605.00883), the video protocol: how steady swapped videos are.

    python benchmarks/casia_videos.py --data CASIA_FaceSwapping --pairs benchmark --weights vbench --swaps swaps/ada
    python benchmarks/casia_videos.py ... --model inswapper_128.onnx --make swaps/inswapper

The authors' pair lists `video_pairs_<protocol>.txt` hold `source target` a line, names of `videos/<video>.mp4`: the
first frame of the source is who is put on, the frames 0 to 99 of the target are what is swapped. Swaps lie in
`<swaps>/videos_<protocol>/<source>-<target>.mp4` (the authors name no place). `--weights` holds
`dino_vitbase16_pretrain.pth`, and `model.safetensors` of Hugging Face's `openai/clip-vit-base-patch32`.

Subject consistency: mean cosine of DINO's features of a frame to the frame before and to the first. Background
consistency: the same by CLIP. Both as VBench 0.1.5 computes them, which the authors name. A value a video, with
intervals over videos. The row `targets` has the same figures of the targets themselves: a swap that freezes is above it
and no better. The authors publish no figures of videos on the project's page: none are printed.

Not measured: ID retrieval, pose and expression a frame, which the authors call possible and of which they publish
neither points nor figures. `task=evaluate` measures videos by its own networks.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from casia import Pair, read_pairs
from facesmith.errors import UserError
from facesmith.media.images import write_image
from facesmith.media.video import open_video
from facesmith.metrics.statistics import estimate
from published_protocol import load_told, parse_arguments, swap_targets
from reference_networks import CLIP, DINO
from video_consistency import CLIP_PARTS, Clip, Dino, FrameNetwork, consistency

PROTOCOLS = ("normal", "cross_ethnicity", "cross_attribute")
FRAMES = 100
COLUMNS = {"subject": "subject consistency", "background": "background consistency"}

Values = dict[str, list[float]]


def main() -> None:
    """Print a table a protocol."""
    arguments = _arguments()
    networks = load_networks(arguments.weights, arguments.sha256)
    swaps = arguments.swaps or arguments.make
    for protocol in arguments.protocols:
        pairs = read_pairs(arguments.pairs / f"video_pairs_{protocol}.txt")
        folder = swaps / f"videos_{protocol}"
        if arguments.model:
            make_swaps(arguments.model, pairs, arguments.data, folder, swaps / ".work", arguments.per_person)
        found = find_swaps(folder, pairs, protocol)
        kind = "one-shot" if arguments.per_person is None else "per-person"
        rows = {(swaps.name, kind): measure(list(found.values()), networks)}
        targets = [find_video(arguments.data, target) for _, target in found]
        rows["targets", ""] = measure(targets, networks)
        print_rows(f"videos, {protocol}, {len(found)} of {len(pairs)} pairs", rows)


def load_networks(folder: Path, expected: list[str]) -> dict[str, FrameNetwork]:
    """Load DINO and CLIP, and print the sha256 of their files.

    Raises:
        UserError: Files are missing, are others, or hold no such network.
    """
    clip_file = next((folder / name for name in CLIP if (folder / name).exists()), folder / CLIP[0])
    dino, clip = Dino(), Clip()
    load_told(dino, folder / DINO, expected)
    load_told(clip, clip_file, expected, CLIP_PARTS)
    return {"subject": dino, "background": clip}


def find_video(data: Path, name: str) -> Path:
    """Return the file of a video of the dataset."""
    path = data / "videos" / f"{name}.mp4"
    if not path.is_file():
        raise UserError(f"--data {data}: lacks videos/{name}.mp4; give the folder of CASIA FaceSwapping")
    return path


def find_swaps(folder: Path, pairs: list[Pair], protocol: str) -> dict[Pair, Path]:
    """Find the swap of each pair; what is missing is told, never left out in silence."""
    files = {(source, target): folder / f"{source}-{target}.mp4" for source, target in pairs}
    found = {pair: file for pair, file in files.items() if file.is_file()}
    if not found:
        raise UserError(
            f"{folder}: holds no swap of the {len(pairs)} pairs of {protocol}; the first would be "
            f"{next(iter(files.values()), folder).name}"
        )
    if len(found) < len(files):
        print(f"{protocol}: {len(files) - len(found)} of {len(files)} pairs have no swap: NOT the published protocol")
    return found


def measure(videos: list[Path], networks: Mapping[str, FrameNetwork]) -> Values:
    """Measure videos, a value each."""
    values: Values = {name: [] for name in networks}
    for path in videos:
        for name, value in consistency(_read(path), dict(networks)).items():
            values[name].append(value)
    return values


def make_swaps(model: str, pairs: list[Pair], data: Path, output: Path, work: Path, training: list[str] | None) -> None:
    """Swap every pair that has no swap yet: one-shot by the source's first frame, per-person by its whole video."""
    for source, target in pairs:
        result = output / f"{source}-{target}.mp4"
        if result.exists():
            continue
        folder = work / f"{source}-{target}"
        link = folder / "targets" / f"{target}.mp4"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(find_video(data, target).resolve())
        given = find_video(data, source)
        if training is None:
            picture = next(_read(given))
            given = folder / "source.png"
            write_image(given, picture, mark=None)
        stop = [f"task.end={FRAMES}f"]
        swap_targets(model, given, link.parent, folder / "swaps", folder, f"p{source}".lower(), training, stop)
        output.mkdir(parents=True, exist_ok=True)
        (folder / "swaps" / link.name).replace(result)


def print_rows(title: str, rows: Mapping[tuple[str, str], Values]) -> None:
    """Print a Markdown table."""
    print(f"\n**{title}**\n\n| method | kind | videos | {' | '.join(COLUMNS.values())} |\n|---|---|---|---|---|")
    for (method, kind), values in rows.items():
        cells = []
        for name in COLUMNS:
            one = estimate(np.array(values[name]), "mean")
            ends = "" if np.isnan(one.low) else f" ({one.low:.4f} to {one.high:.4f})"
            cells.append(f"{one.value:.4f}{ends}")
        print(f"| {method} | {kind} | {len(values['subject'])} | {' | '.join(cells)} |")


def _read(path: Path) -> Iterator[NDArray[np.uint8]]:
    with open_video(path) as reader:
        for _, frame in reader.frames(range(min(len(reader), FRAMES))):
            yield frame


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of videos/")
    parser.add_argument("--pairs", type=Path, required=True, help="folder of the lists of pairs")
    parser.add_argument("--weights", type=Path, required=True, help="folder of the weights of DINO and CLIP")
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    return parse_arguments(parser)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
