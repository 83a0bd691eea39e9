"""The generate task: pose videos in, videos of a trained person out."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from facesmith.errors import UserError
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.files import write_text
from facesmith.media.images import write_image
from facesmith.media.provenance import Mark, file_sha256
from facesmith.media.sampling import evenly_spaced
from facesmith.media.sources import find_media
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.methods.video_lora.adapter_bundle import LORA, Person, load_person
from facesmith.methods.video_lora.base import Storage, open_base
from facesmith.methods.video_lora.clips import fitted
from facesmith.methods.video_lora.generation import Scheduler, VideoGenerator, Wish
from facesmith.methods.video_lora.memory_check import Offload, tell_drawing
from facesmith.methods.video_lora.memory_estimate import Shape, tokens

log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]

JOURNAL: Final = "generated.json"
SHEET: Final = "contact_sheet.png"
_SENSIBLE: Final = (0.3, 2.0)  # of face_scale
_SHOWN: Final = 3  # frames of a video in the contact sheet


class GenerateTask:
    """Draw a person to every pose video, once a seed.

    model: `exports/` of a run, or a checkpoint. source: pose videos: a file, a folder, or a list. output: a file for
    one video, else a folder. base: where the base lies now; None for where it lay in training. embedding: a profile
    made with the same encoder, drawn instead of the person. prompt, negative_prompt: None for those of the training.
    height, width: None for the pose videos' own, rounded to what the base takes. num_frames: at most so many. fps: of
    the output; None for the pose videos' own. face_scale, lora_scale, vace_scale, cfg_scale, steps: see `Wish`.
    seeds: one video each. scheduler, offload, base_storage: see `VideoGenerator`. resume: keep what an earlier run
    with the same settings has drawn.

    Raises:
        UserError: model, base, poses or output do not fit together.
    """

    def __init__(
        self,
        *,
        model: Path,
        source: str | Sequence[str],
        output: Path,
        base: str | None,
        embedding: Path | None,
        prompt: str | None,
        negative_prompt: str | None,
        height: int | None,
        width: int | None,
        num_frames: int,
        fps: float | None,
        face_scale: float,
        lora_scale: float,
        vace_scale: float,
        cfg_scale: float,
        steps: int,
        seeds: Sequence[int],
        scheduler: Scheduler,
        offload: Offload,
        base_storage: Storage,
        crf: int,
        resume: bool,
        progress: bool = True,
    ) -> None:
        self._person = load_person(model)
        self._base = open_base(base or str(self._person.facts["base"]))
        self._model = model / LORA if model.is_dir() else model
        self._poses = [media.path for media in find_media(source) if media.kind == "video"]
        if not self._poses:
            raise UserError(f"source={source}: holds no video; give pose videos")
        self._targets = _targets(self._poses, list(seeds), output)
        facts = self._person.facts
        self._wish = Wish(
            prompt or facts["prompt"],
            facts["negative_prompt"] if negative_prompt is None else negative_prompt,
            face_scale,
            lora_scale,
            vace_scale,
            cfg_scale,
            steps,
        )
        self._embedding = _embedding(embedding, self._person)
        multiple = self._base.multiple
        for key, size in (("height", height), ("width", width)):
            if size is not None and size % multiple:
                near = max(multiple, round(size / multiple) * multiple)
                raise UserError(f"task.{key}={size}: must be a multiple of {multiple}, such as {near}")
        self._size, self._num_frames, self._fps = (height, width), num_frames, fps
        self._scheduler, self._offload, self._storage, self._crf = scheduler, offload, base_storage, crf
        self._resume, self._progress = resume, progress
        if not _SENSIBLE[0] <= face_scale <= _SENSIBLE[1] and face_scale != 0:
            log.warning(
                "face_scale=%g: 0.5 is subtle, 1 as trained, 1.5 strong; beyond 0.3 to 2 faces break", face_scale
            )

    def run(self) -> list[Path]:
        """Draw what is still to be drawn, and lay a contact sheet beside it."""
        folder = self._targets[0][2].parent
        journal = folder / JOURNAL
        done = json.loads(journal.read_text()) if self._resume and journal.is_file() else {}
        model_hash = file_sha256(self._model)
        keys = [self._key(pose, seed, model_hash) for pose, seed, _ in self._targets]
        todo = [
            n for n, (_, _, path) in enumerate(self._targets) if done.get(path.name) != keys[n] or not path.exists()
        ]
        console = Console()
        if len(todo) < len(self._targets):
            console.print(f"{len(self._targets) - len(todo)} of {len(self._targets)} are drawn already")
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        if todo:
            shapes = {pose: self._shape(pose) for pose in dict.fromkeys(self._targets[number][0] for number in todo)}
            tell_drawing(
                self._base,
                max(shapes.values(), key=lambda shape: tokens(self._base, shape)),
                storage=self._storage,
                offload=self._offload,
                setting=f"task.base={self._base.name}",
            )
            generator = VideoGenerator(
                self._base,
                self._person,
                scheduler=self._scheduler,
                offload=self._offload,
                storage=self._storage,
                embedding=self._embedding,
            )
            with Progress(*columns, console=console, disable=not self._progress) as bar:
                shown = bar.add_task("steps", total=len(todo) * self._wish.steps)
                for number in todo:
                    pose, seed, path = self._targets[number]
                    frames, fps = self._read(pose, shapes[pose])
                    bar.update(shown, description=path.name)
                    drawn = generator.draw(frames, self._wish, seed, lambda: bar.advance(shown))
                    self._write(path, drawn, fps, model_hash)
                    done[path.name] = keys[number]
                    write_text(journal, json.dumps(done, indent=1))
        paths = [path for _, _, path in self._targets]
        if len(paths) > 1:
            sheet = folder / SHEET
            write_image(sheet, _contact_sheet(self._poses, self._targets), mark=self._mark("contact sheet", model_hash))
            paths.append(sheet)
        for path in paths:
            console.print(str(path), highlight=False, soft_wrap=True)
        return paths

    def _shape(self, pose: Path) -> Shape:
        """Return the size and length that the base takes nearest to a pose video's."""
        multiple, step = self._base.multiple, self._base.times
        with open_video(pose) as reader:
            count = (min(len(reader), self._num_frames) - 1) // step * step + 1
            height, width = (
                given or max(multiple, round(own / multiple) * multiple)
                for given, own in zip(self._size, (reader.height, reader.width), strict=True)
            )
            if len(reader) > count:
                log.warning("%s: has %d frames, the first %d are drawn (task.num_frames)", pose, len(reader), count)
            if (reader.height, reader.width) != (height, width):
                sizes = (reader.height, reader.width, height, width, multiple)
                log.warning("%s: is %dx%d px, drawn at %dx%d, cropped to fit; sizes are multiples of %d", pose, *sizes)
        return Shape(count, height, width)

    def _read(self, pose: Path, shape: Shape) -> tuple[Pixels, float]:
        """Read a pose video at the size and length that the base takes."""
        with open_video(pose) as reader:
            found = reader.frames(range(shape.frames))
            return np.stack([fitted(frame, shape.height, shape.width) for _, frame in found]), self._fps or reader.fps

    def _write(self, path: Path, frames: Pixels, fps: float, model_hash: str) -> None:
        with VideoWriter(path, mark=self._mark("dance drawn to poses", model_hash), fps=fps, crf=self._crf) as writer:
            for frame in frames:
                writer.write(frame)

    def _mark(self, title: str, model_hash: str) -> Mark:
        facts = self._person.facts
        return Mark(
            identity=str(facts["identity"]),
            consent=str(facts["consent"]),
            model_hash=model_hash,
            title=title,
            kind="generated",
        )

    def _key(self, pose: Path, seed: int, model_hash: str) -> str:
        """Everything that decides a video, in 16 hex digits."""
        settings = {
            **asdict(self._wish),
            "pose": file_sha256(pose),
            "model": model_hash,
            "seed": seed,
            "size": self._size,
            "num_frames": self._num_frames,
            "fps": self._fps,
            "scheduler": self._scheduler,
            "storage": self._storage,
            "embedding": None if self._embedding is None else self._embedding.tolist(),
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _targets(poses: Sequence[Path], seeds: Sequence[int], output: Path) -> list[tuple[Path, int, Path]]:
    """Return pose, seed and path of every video."""
    if output.suffix:
        if len(poses) * len(seeds) > 1:
            raise UserError(
                f"output={output}: is a file, but {len(poses) * len(seeds)} videos are wanted; give a folder"
            )
        if output.suffix.lower() != ".mp4":
            raise UserError(f"output={output}: unknown suffix; use .mp4")
        return [(poses[0], seeds[0], output)]
    stems = [pose.stem.removesuffix("_pose") for pose in poses]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise UserError(f"source: several pose videos are called {', '.join(twice)}; rename them")
    return [
        (pose, seed, output / f"{stem}_seed{seed}.mp4")
        for pose, stem in zip(poses, stems, strict=True)
        for seed in seeds
    ]


def _embedding(path: Path | None, person: Person) -> Tensor | None:
    if path is None:
        return None
    profile = IdentityProfile.load(path)
    if profile.embedder != person.facts["encoder"]:
        raise UserError(
            f"embedding={path}: was made with {profile.embedder}, the mapper reads {person.facts['encoder']}; make it "
            "with that encoder"
        )
    return torch.from_numpy(np.asarray(profile.embedding_mean, np.float32))


def _contact_sheet(poses: Sequence[Path], targets: Sequence[tuple[Path, int, Path]]) -> Pixels:
    """Lay out a row a pose video: its drawing, then every seed; some frames of each."""
    rows = []
    for pose in poses:
        paths = [path for own, _, path in targets if own == pose]
        rows.append(np.concatenate([_strip(pose), *(_strip(path) for path in paths)], 1))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0))) for row in rows], 0)


def _strip(path: Path, height: int = 160) -> Pixels:
    with open_video(path) as reader:
        frames = [frame for _, frame in reader.frames(evenly_spaced(len(reader), _SHOWN, ends=True))]
    width = round(frames[0].shape[1] * height / frames[0].shape[0])
    small = [fitted(frame, height, width) for frame in frames]
    return np.pad(np.concatenate(small, 1), ((0, 0), (0, 4), (0, 0)))
