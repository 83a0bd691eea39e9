"""Does the LoRA learn the face, and does face_scale mean something? People of the toy world, none seen by the base.

python benchmarks/video_lora_faces.py output=<folder> [people=5] [first=0] [seeds=2] [dances=12] [key=value ...]

Trains each person with each seed as the demo does, draws dances nobody trained on at every lora and face scale (after
the first seed at lora_scale 1 alone), with 0, 1 and 3 reference photos, and at some scales of one photo. Prints means
over trials: projection on the person (0 the mean person, 1 the person), rank of the person among 11, overlap of the
body with the true dance. The base alone is the row of lora_scale 0, face_scale 0. Every trial leaves a record and a
picture in the folder; started again, the benchmark goes on with the trials that are missing. Further key=value
arguments are those of the demo experiment.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

from facesmith.cli.composition import load_config
from facesmith.config.schema import TrainConfig
from facesmith.files import write_text
from facesmith.media.images import write_image
from facesmith.media.provenance import Mark
from facesmith.methods.video_lora.generation import scale_references
from facesmith.methods.video_lora.latents import (
    add_references,
    decode_latents,
    initial_noise,
    sample_latents,
    vace_control,
)
from facesmith.methods.video_lora.lora import set_lora_scale
from facesmith.methods.video_lora.networks import insert_face_tokens
from facesmith.methods.video_lora.text_encoding import cache_prompts, pad_rows
from facesmith.methods.video_lora.toy_wan import faces
from facesmith.methods.video_lora.toy_wan.data import demo_person
from facesmith.methods.video_lora.toy_wan.world import Clips, render_portraits, sample_clips, sample_people
from facesmith.training.run.log import silence_libraries

FACE_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
LORA_SCALES = (0.0, 0.5, 1.0)
PHOTOS = (0, 1, 3)
PHOTO_FACE_SCALES = (0.0, 0.5, 1.0)
PHOTO_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)
DANCES = 12
DISTRACTORS = 10
STAGE = 77_001  # seed of the dances
SHOWN = 6  # dances in a picture

Figures = dict[str, float]


def settings(folder: Path, overrides: list[str]) -> TrainConfig:
    """Compose the demo."""
    return load_config("train", TrainConfig, ["experiment=video_lora_demo", *overrides], run=folder)


def trained(config: TrainConfig) -> tuple[Any, Any]:
    """Train as the demo does, without its validations."""
    lightning.seed_everything(config.seed, verbose=False)
    data, module = config.data.build(), config.model.build()
    freeze = config.callbacks["freeze_mapper"]
    assert freeze is not None
    fit(module, data, config, max_epochs=config.trainer.max_epochs, callbacks=[freeze.build()])
    return data, module.eval()


def fit(module: Any, data: Any, config: TrainConfig, **arguments: Any) -> None:
    """Train, without validation and without a word. arguments: of the trainer."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        gradient_clip_val=config.trainer.gradient_clip_val,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        **arguments,
    )
    trainer.fit(module, data)


class Trial:
    """Trained networks, asked for dances that nobody trained on; `trigger` stands in front of every prompt."""

    def __init__(self, data: Any, module: Any, some: Clips, trigger: str = "") -> None:
        self.module = module
        self.codec = module.base.load_vae()
        poses = (some.dances.poses * 255).round().to(torch.uint8)
        self.poses = poses.permute(0, 2, 3, 4, 1).numpy()

        def latents(videos: Tensor) -> Tensor:
            found: Tensor = self.codec.encode(videos).latent_dist.mode() / self.codec.spread
            return found

        steer, blank = latents(poses.float() / 127.5 - 1), latents(torch.zeros(1, *poses.shape[1:]))
        self.control = vace_control(steer, blank, module.base.spatial_compression)
        length = data.config.text_length
        prompts = [trigger + prompt for prompt in some.prompts]
        rows = cache_prompts(data.base, data.cache, prompts, length, data.config.face_tokens, False)
        self.text = torch.stack([pad_rows(data.cache.read(path)["rows"], length) for path in rows])
        person = next(iter(data.people.values()))
        photos = [latents(photo.permute(2, 0, 1)[None, :, None].float() / 127.5 - 1) for photo in person.portraits]
        self.photos = torch.cat(photos, 2)

    @torch.no_grad()
    def of_the_person(
        self, lora_scale: float, face_scale: float, face: Tensor, photos: int = 0, photo_scale: float = 1.0
    ) -> Tensor:
        """Draw latents of the dances for a face (E,) and the first photos of the person."""
        set_lora_scale(self.module.transformer, lora_scale)
        tokens = face_scale * self.module.mapper(face[None]).expand(len(self.text), -1, -1)
        shown = photos if photo_scale else 0
        with scale_references(self.module.transformer, shown, photo_scale):
            return self._latents(self.module.transformer, insert_face_tokens(self.text, tokens), shown)

    def of_the_base(self) -> Tensor:
        """Draw latents with the base as it was loaded, without adapter and tokens."""
        return self.of_the_words(self.module.base.load_transformer(torch.float32))

    def of_the_words(self, transformer: Any) -> Tensor:
        """Draw latents by a transformer, without tokens and photos."""
        return self._latents(transformer, self.text)

    def videos(self, latents: Tensor) -> np.ndarray:
        """Return (N,T,H,W,3) uint8."""
        return decode_latents(self.codec, latents).numpy()

    @torch.no_grad()
    def _latents(self, transformer: Any, text: Tensor, photos: int = 0) -> Tensor:
        base, control = self.module.base, self.control
        if photos:
            control = add_references(control, self.photos[:, :, :photos].expand(len(text), -1, -1, -1, -1))
        shape = (len(text), base.latent_channels, *control.shape[2:])
        return sample_latents(
            transformer,
            base.load_scheduler(),
            noise=initial_noise(shape, list(range(100, 100 + len(text))), self.control.device),
            control=control,
            text=text,
            steps=self.module.config.validation.steps,
            photos=photos,
        )


def fields(who: Tensor) -> Tensor:
    """Return (N,48), what people's portraits show."""
    pictures = (render_portraits(who) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return faces.portrait_colours(pictures)


def truth_of(who: Tensor, dances: int = DANCES) -> np.ndarray:
    """Return the dances as a person truly dances them."""
    shown = sample_clips(dances, torch.Generator().manual_seed(STAGE), who)
    return ((shown.videos + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 4, 1).numpy()


def heads(videos: np.ndarray, poses: np.ndarray) -> tuple[list[Tensor], list[np.ndarray]]:
    """Return what each dance's head shows, and where it is."""
    boxes = [faces.find_rings(pose) for pose in poses]
    found = [faces.head_colours(torch.from_numpy(v), torch.from_numpy(b)) for v, b in zip(videos, boxes, strict=True)]
    return found, boxes


def distractors() -> Tensor:
    """Return what the portraits of ten other people show."""
    return fields(sample_people(DISTRACTORS, torch.Generator().manual_seed(77_002)))


def figures(videos: np.ndarray, truth: np.ndarray, poses: np.ndarray, target: Tensor, others: Tensor) -> Figures:
    """Return means over the dances; worst_rank: of a single dance."""
    found = []
    for head, box, frames, true in zip(*heads(videos, poses), videos, truth, strict=True):
        own = faces.compare_colours(head, target)
        better = sum(faces.compare_colours(head, other)["likeness"] > own["likeness"] for other in others)
        found.append({**own, "rank": 1.0 + better, "iou": faces.body_overlap(frames, true, box)})
    means = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    return {**means, "worst_rank": max(one["rank"] for one in found)}


def sheet(rows: list[np.ndarray], path: Path) -> None:
    """Write first and last frames of some dances, a row a video array."""
    count = min(SHOWN, min(len(row) for row in rows))
    lines = [np.concatenate([row[i][f] for i in range(count) for f in (0, 8)], 1) for row in rows]
    mark = Mark(identity="dancer", consent="synthetic", model_hash=None, title="benchmark", kind="generated")
    write_image(path, np.concatenate(lines, 0).repeat(2, 0).repeat(2, 1), mark=mark)


def read_record(path: Path, overrides: list[str]) -> dict[str, Any] | None:
    """Return what an earlier call with the same overrides measured; None where there was none."""
    if not path.exists():
        return None
    known: dict[str, Any] = json.loads(path.read_text())
    if known["overrides"] != overrides:
        sys.exit(f"{path}: was made with {known['overrides']}; choose another output")
    return known


def cell(lora_scale: float, face_scale: float, photos: int = 0, photo_scale: float = 1.0) -> str:
    """Name a cell of the tables."""
    behind = f" photos {photos} x {photo_scale:g}" if photos and photo_scale else ""
    return f"{lora_scale:g} {face_scale:g}{behind}"


def plan(complete: bool) -> list[tuple[float, float, int, float]]:
    """List lora scale, face scale, photos and their scale of everything that is drawn."""
    found: list[tuple[float, float, int, float]] = []
    found += [(lora, face, 0, 1.0) for lora in LORA_SCALES for face in FACE_SCALES]
    found += [(lora, face, n, 1.0) for lora in (0.0, 1.0) for face in PHOTO_FACE_SCALES for n in PHOTOS if n]
    found += [(1.0, 0.0, 1, scale) for scale in PHOTO_SCALES if 0 < scale < 1]
    return [one for one in found if complete or one[0] == 1 or one[:3] == (0, 0, 0)]


def one_trial(output: Path, number: int, seed: int, overrides: list[str], dances: int) -> dict[str, Any]:
    """Train, draw, judge; leave record and picture."""
    name = f"person_{number}_seed_{seed}"
    record = output / f"{name}.json"
    if (known := read_record(record, overrides)) is not None:
        return known
    run = [f"data.people=[{number}]", f"seed={seed}", f"paths.face_sets={output / 'sets'}", "data.progress=false"]
    begun = time.process_time()
    data, module = trained(settings(output / "run", [*run, *overrides]))
    seconds = time.process_time() - begun
    who = demo_person(number)
    trial = Trial(data, module, sample_clips(dances, torch.Generator().manual_seed(STAGE)))
    face, target, others = next(iter(data.people.values())).mean, fields(who[None])[0], distractors()
    truth, base = truth_of(who, dances), trial.of_the_base()
    rows, cells = [trial.poses, truth, trial.videos(base)], {}
    bit_equal = False
    for scales in plan(seed == 0):
        latents = trial.of_the_person(*scales[:2], face, *scales[2:])
        videos = trial.videos(latents)
        cells[cell(*scales)] = figures(videos, truth, trial.poses, target, others)
        if scales[:3] == (0, 0, 0):
            bit_equal = torch.equal(latents, base)
        if scales[0] == 1 and scales[3] == 1:
            rows.append(videos)
    sheet(rows, output / f"{name}.png")
    found = {
        "overrides": overrides,
        "base": module.base.fingerprint,
        "cpu_seconds_of_training": round(seconds, 1),
        "base_bit_equal": bit_equal,
        "cells": cells,
    }
    write_text(record, json.dumps(found, indent=1) + "\n")
    return found


def told(trials: dict[str, dict[str, Any]]) -> str:
    """Say what the trials say together."""
    lines = ["| lora_scale \\ face_scale | " + " | ".join(f"{s:g}" for s in FACE_SCALES) + " |"]
    lines.append("|---" * (len(FACE_SCALES) + 1) + "|")

    def mean(cell: str, figure: str) -> float:
        return float(np.mean([t["cells"][cell][figure] for t in trials.values() if cell in t["cells"]]))

    for lora_scale in LORA_SCALES:
        cells = [f"{mean(f'{lora_scale:g} {s:g}', 'projection'):.3f}" for s in FACE_SCALES]
        lines.append(f"| {lora_scale:g} | " + " | ".join(cells) + " |")
    lines += ["", "| lora_scale, photos \\ face_scale | " + " | ".join(f"{s:g}" for s in PHOTO_FACE_SCALES) + " |"]
    lines.append("|---" * (len(PHOTO_FACE_SCALES) + 1) + "|")
    for lora_scale in (0.0, 1.0):
        for photos in PHOTOS:
            found = [f"{mean(cell(lora_scale, face, photos), 'projection'):.3f}" for face in PHOTO_FACE_SCALES]
            lines.append(f"| {lora_scale:g}, {photos} | " + " | ".join(found) + " |")
    doses = [f"{scale:g}: {mean(cell(1, 0, 1, scale), 'projection'):.3f}" for scale in PHOTO_SCALES]
    lines += ["", f"reference_scale of one photo, lora_scale 1, face_scale 0: {', '.join(doses)}", ""]
    for name, trial in trials.items():
        cells = trial["cells"]
        doses = [cells[f"1 {s:g}"]["projection"] for s in FACE_SCALES]
        shown = [cells[cell(1, 0, 1, scale)]["projection"] for scale in PHOTO_SCALES]
        lines.append(
            f"{name}: projections {' '.join(f'{dose:.3f}' for dose in doses)}, "
            f"{'rising' if doses == sorted(doses) else 'NOT rising'}; "
            f"leak {doses[0] - cells['0 0']['projection']:+.3f}; worst rank {cells['1 1']['worst_rank']:.0f}; "
            f"photos {' '.join(f'{d:.3f}' for d in shown)} {'rising' if shown == sorted(shown) else 'NOT rising'}; "
            f"IoU {cells['1 1']['iou']:.3f}, with a photo {cells[cell(1, 1, 1)]['iou']:.3f} "
            f"(base {cells['0 0']['iou']:.3f}); cosine {cells['1 1']['likeness']:.3f}; "
            f"base bit-equal {trial['base_bit_equal']}; trained in {trial['cpu_seconds_of_training']:.0f} CPU s"
        )
    ones = [trial["cells"]["1 1"] for trial in trials.values()]
    leaks = [t["cells"]["1 0"]["projection"] - t["cells"]["0 0"]["projection"] for t in trials.values()]
    projections = [one["projection"] for one in ones]
    lines.append(
        f"{len(ones)} trials at 1, 1: projection {np.mean(projections):.3f} ({min(projections):.3f} to "
        f"{max(projections):.3f}), leak {np.mean(leaks):+.3f} (at most {max(leaks):+.3f}), worst rank of any dance "
        f"{max(one['worst_rank'] for one in ones):.0f}, IoU {mean('1 1', 'iou'):.3f}, base's {mean('0 0', 'iou'):.3f}"
    )
    return "\n".join(lines)


def ceiling(codec: Any, numbers: range) -> Figures:
    """Return what the codec makes of the truth itself: no more can be drawn."""
    some = sample_clips(DANCES, torch.Generator().manual_seed(STAGE))
    poses = (some.dances.poses * 255).round().to(torch.uint8).permute(0, 2, 3, 4, 1).numpy()
    found = []
    for number in numbers:
        shown = sample_clips(DANCES, torch.Generator().manual_seed(STAGE), demo_person(number))
        with torch.no_grad():
            coded = codec.decode(codec.encode(shown.videos).latent_dist.mode()).sample
        videos = ((coded + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 4, 1).numpy()
        target = fields(demo_person(number)[None])[0]
        found.append(figures(videos, truth_of(demo_person(number)), poses, target, distractors()))
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def split(arguments: list[str], known: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Tell a benchmark's own key=value arguments from those of the experiment."""
    given, overrides = dict(known), []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in given:
            given[key] = value
        else:
            overrides.append(argument)
    if not given["output"]:
        sys.exit("output=<folder>: where results are kept")
    return given, overrides


def main(arguments: list[str]) -> None:
    """Read key=value arguments: output, people, seeds, and those of the experiment."""
    given, overrides = split(arguments, {"people": "5", "first": "0", "seeds": "2", "dances": "12", "output": ""})
    silence_libraries()
    output = Path(given["output"])
    trials = {}
    for seed in range(int(given["seeds"])):
        for number in range(int(given["first"]), int(given["first"]) + int(given["people"])):
            name = f"person {number} seed {seed}"
            trials[name] = one_trial(output, number, seed, overrides, int(given["dances"]))
            print(f"{name}: {trials[name]['cells']['1 1']}", flush=True)
    print("\n" + told(trials))
    from facesmith.methods.video_lora.base import open_base

    most = ceiling(open_base("asset:toy_wan").load_vae(), range(int(given["people"])))
    print(f"the codec makes of the truth itself: {most}")
    print(f"pictures (poses, truth, base, face_scale {FACE_SCALES}) and records: {output}")


if __name__ == "__main__":
    main(sys.argv[1:])
