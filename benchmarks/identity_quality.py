"""Does identity training learn? The carphone man onto eight faces, held against the quality gate.

    python benchmarks/identity_quality.py                   the eight faces, all seen in training
    python benchmarks/identity_quality.py --leave-one-out   each of the eight, trained on the other seven
    python benchmarks/identity_quality.py --demo            the astronaut alone

A plain loop on one thread around the product's own parts, with the values of conf/. Prints the gate's table
and CPU seconds. Seven of the faces are of actors, from the installed insightface package: numbers only;
`--grid` writes pictures for your own eyes, do not publish them.
"""

import argparse
import copy
import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import insightface
import numpy as np
import skimage.data
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from facesmith.assets import fetch
from facesmith.cli.composition import compose_config
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.face import keypoints_from_landmarks
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, warp_face
from facesmith.faces.pseudo_labels.pseudo_truth import build
from facesmith.faces.pseudo_labels.training_items import TrainingItems
from facesmith.media.images import read_image, write_image
from facesmith.media.provenance import Mark
from facesmith.media.video import open_video
from facesmith.methods.swapper.losses import TextureWarpLoss
from facesmith.metrics.recogniser import HeldOutRecogniser
from facesmith.metrics.swap import SwapEvaluator, SwapMetrics, SwapPictures, held_out_ssim
from facesmith.models.swapper.generator import composite
from facesmith.models.swapper.texture_warp import TextureWarp
from facesmith.training.swapping.augment import Augment
from facesmith.training.swapping.dataset import MixedBatchSampler

SIZE, TEMPLATE = 128, "arcface_128"
NAMES = ["astronaut", "t1-0", "t1-1", "t1-2", "t1-3", "t1-4", "t1-5", "hanks"]
HELD_FRAMES = 0.1
RECIPE = ["data.batch_size=8", "model.optimizer.lr=2.5e-3"]
T = TypeVar("T")


@dataclass(frozen=True)
class Media:
    """The person's frames, the last tenth of them, and the eight faces."""

    person: AlignedFaces
    unseen: AlignedFaces
    targets: AlignedFaces


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    logging.basicConfig(level=logging.ERROR)
    analyzer = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.6)
    media = collect(analyzer)
    gate = SwapEvaluator(analyzer, HeldOutRecogniser(), media.person)
    everyone = list(range(len(NAMES)))
    if arguments.leave_one_out:
        runs = [([j for j in everyone if j != held], [held]) for held in arguments.only or everyone]
    else:
        runs = [([0], []) if arguments.demo else (everyone, [])]
    unseen, seconds = [], []
    for seen, held in runs:
        verdicts, spent = run(media, gate, seen, held, arguments)
        unseen += [row for row in verdicts.pictures if row.name in {NAMES[j] for j in held}]
        seconds.append(spent)
    if unseen:
        table(f"held out, {np.mean(seconds):.0f} CPU-s a run", SwapMetrics(unseen))
    analyzer.close()


def run(
    media: Media, gate: SwapEvaluator, seen: Sequence[int], held: Sequence[int], arguments: argparse.Namespace
) -> tuple[SwapMetrics, float]:
    """Train on the seen faces, print the gate's table, and give the verdicts on seen and held ones."""
    started = time.process_time()
    settings = _settings()
    items = build(media.person, media.targets[list(seen)], **OmegaConf.to_object(settings.pseudo_truth), progress=False)
    prepared = time.process_time() - started
    generator = train(items, settings, arguments.steps)
    spent = time.process_time() - started
    chosen = [*seen, *held]
    names, targets = [NAMES[j] for j in chosen], media.targets[chosen]
    # the pseudo truth of every face that is judged, whether or not it was trained on
    judged = build(media.person, targets, frames=1, donors=1, textures=1, progress=False)
    truth, hull = judged.truth[: len(chosen)], judged.hull[: len(chosen)]
    raw, shown, mask = swap(generator, targets.images)
    quality = gate(SwapPictures(targets.images, truth, raw, shown, mask, hull), names)
    mine = build(media.unseen, media.unseen[:0], textures=1, progress=False)
    own = mine.hull[: len(mine)]
    again, _, _ = swap(generator, mine.target)
    untouched = SwapPictures(targets.images, truth, truth, truth, hull, hull)
    table("before", gate.before(untouched, names))
    table("pseudo truth", gate(untouched, names))
    table(
        f"after {arguments.steps} steps, {len(items)} items, {spent:.0f} CPU-s ({prepared:.0f} of them "
        f"preparing), held-out frames SSIM {held_out_ssim(mine.target, again, own):.3f}",
        quality,
    )
    if arguments.grid:
        rows = [targets.images, truth, raw, shown]
        path = arguments.grid.with_stem("-".join([arguments.grid.stem, *(NAMES[j] for j in held)]))
        grid = cv2.resize(np.vstack([np.hstack(list(row)) for row in rows]), None, fx=2.5, fy=2.5)
        mark = Mark(identity="carphone", consent="licensed", model_hash=None, title="grid of a benchmark")
        write_image(path, np.asarray(grid), mark=mark)
    return quality, spent


def train(items: TrainingItems, settings: OmegaConf, steps: int) -> TextureWarp:
    """Train on one thread and give the moving average of the weights."""
    torch.manual_seed(0)
    generator, loss = _make(TextureWarp, settings.generator), _make(TextureWarpLoss, settings.loss)
    textures, regions, core = (torch.from_numpy(a) for a in (items.textures, items.regions, items.core))
    generator.set_textures(textures, regions, core)
    loss.set_regions(regions)
    augment = _make(Augment, settings.augment)
    data = tensors(items.reduced(settings.augment.size))
    sampler = MixedBatchSampler(items.kind, settings.shares, settings.batch_size, steps, seed=0)
    optimiser = settings.optimizer
    adam = torch.optim.AdamW(
        generator.parameters(),
        optimiser.lr,
        betas=tuple(optimiser.betas),
        weight_decay=optimiser.weight_decay,
        fused=True,
    )
    average = copy.deepcopy(generator).eval().requires_grad_(False)
    warmup = max(1, round(optimiser.warmup * steps))
    for step, rows in enumerate(sampler):
        done = max(0.0, (step - warmup) / (steps - warmup))
        cosine = optimiser.final + (1 - optimiser.final) * (1 + math.cos(math.pi * done)) / 2
        adam.param_groups[0]["lr"] = optimiser.lr * min((step + 1) / warmup, cosine)
        batch = augment({name: scale(values[rows]) for name, (values, scale) in data.items()})
        adam.zero_grad(set_to_none=True)
        loss(generator(batch["target"]), batch, step / steps)["loss"].backward()
        nn.utils.clip_grad_norm_(generator.parameters(), settings.clip)
        adam.step()
        keep = min(settings.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(generator.parameters()), 1 - keep)
            for mean, now in zip(average.buffers(), generator.buffers(), strict=True):
                mean.copy_(now)
        if (step + 1) % 500 == 0:
            print(f"  step {step + 1}/{steps}", file=sys.stderr, flush=True)
    return average


def tensors(items: TrainingItems) -> dict[str, tuple[Tensor, Callable[[Tensor], Tensor]]]:
    """Return what a batch holds, as it is stored, each with what makes floats of it."""

    def first(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))

    return {
        "target": (first(items.target), lambda t: t.float() / 127.5 - 1),
        "truth": (first(items.truth), lambda t: t.float() / 127.5 - 1),
        "hull": (first(items.hull[..., None]), lambda t: t.float() / 255),
        "canonical": (first(items.canonical), lambda t: t.float()),
        "labels": (torch.from_numpy(items.labels), lambda t: t),
    }


@torch.no_grad()
def swap(generator: TextureWarp, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the raw face, the composite and the mask of crops (N,S,S,3), as bytes."""

    def picture(values: Tensor) -> np.ndarray:
        return values.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()

    target = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1
    face, mask, _ = generator(target)
    shown, _ = composite(face, mask, target)
    return picture(face), picture(shown), mask[:, 0].mul(255).round().byte().numpy()


def collect(analyzer: MediaPipeAnalyzer) -> Media:
    """Find, align and describe all faces."""
    with open_video(fetch("carphone_pristine.mp4")) as video:
        frames = [faces_of(frame, analyzer)[:1] for _, frame in video.frames(range(len(video)))]
    person = AlignedFaces.concat([face for found in frames for face in found])
    images = Path(insightface.__file__).parent / "data" / "images"
    group = faces_of(read_image(images / "t1.jpg"), analyzer, places := [])
    group = [group[i] for i in np.argsort(places)]
    hanks = faces_of(read_image(images / "Tom_Hanks_54745.png"), analyzer)[:1]
    targets = AlignedFaces.concat([*faces_of(skimage.data.astronaut(), analyzer)[:1], *group, *hanks])
    if len(targets) != len(NAMES):
        raise RuntimeError(f"expected {len(NAMES)} target faces, found {len(targets)}")
    held = round(HELD_FRAMES * len(person))
    return Media(person[: len(person) - held], person[len(person) - held :], targets)


def faces_of(picture: np.ndarray, analyzer: MediaPipeAnalyzer, places: list[float] | None = None) -> list[AlignedFaces]:
    """Return each face of a picture on its own, the largest first; `places` takes their left sides."""
    found = []
    for face in analyzer(picture):
        matrix = estimate_alignment(keypoints_from_landmarks(face.landmarks), TEMPLATE, SIZE)
        crop = warp_face(picture, matrix, SIZE)
        points = transform_points(face.landmarks, matrix).astype(np.float32)
        found.append(AlignedFaces(crop[None], points[None], face.blendshapes[None], TEMPLATE))
        if places is not None:
            places.append(float(face.box[0]))
    return found


def table(title: str, quality: SwapMetrics) -> None:
    """Print verdicts and their means."""
    print(f"\n{title}\n{'':10s} dlib  SFace  away  NME   eyes  mouth sharp own   IoU")
    for row in quality.pictures:
        figures = (row.distance, row.similarity, row.left_distance, row.nme, row.eyes, row.mouth)
        rest = (row.sharpness, row.sharpness_own, row.iou)
        print(f"{row.name:10s} " + " ".join(f"{v:5.3f}" for v in (*figures, *rest)), row.reason or "ok")
    for name, value in quality.figures("mean").items():
        print(f"{name.split('/')[1]}={value:.3f}", end="  ")
    print(flush=True)


def _settings() -> OmegaConf:
    given = ["data.source=none", "data.name=benchmark", "data.consent=licensed"]
    cfg = compose_config("train", ["experiment=identity", *given, *RECIPE])
    parts = {
        "generator": cfg.model.generator,
        "loss": cfg.model.loss,
        "optimizer": cfg.model.optimizer,
        "augment": cfg.data.augment,
        "pseudo_truth": cfg.data.pseudo_truth,
    }
    resolved = {name: OmegaConf.to_container(part, resolve=True) for name, part in parts.items()}
    single = {
        "batch_size": cfg.data.batch_size,
        "shares": OmegaConf.to_container(cfg.data.shares),
        "decay": cfg.callbacks.average.decay,
        "clip": cfg.trainer.gradient_clip_val,
    }
    return OmegaConf.create({**resolved, **single})


def _make(kind: type[T], settings: OmegaConf) -> T:
    return kind(**{key: value for key, value in OmegaConf.to_object(settings).items() if key != "_target_"})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--leave-one-out", action="store_true")
    parser.add_argument("--only", type=int, nargs="*", help="hold out these of the eight only")
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--steps", type=int, default=3200)
    parser.add_argument("--grid", type=Path, help="write target | pseudo truth | raw | composite here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
