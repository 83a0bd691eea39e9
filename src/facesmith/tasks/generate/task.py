"""The generate task: pose videos in, videos of a trained person out."""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from torch import Tensor

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.files import file_sha256, read_json_object, write_text
from facesmith.media.images import write_image
from facesmith.media.provenance import Mark, check_signing
from facesmith.media.sampling import evenly_spaced
from facesmith.media.sources import VIDEOS, find_media
from facesmith.media.video import VideoReader, open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.methods.video_lora.adapter_bundle import LORA, AdapterBundle, load_bundle
from facesmith.methods.video_lora.base import Base, open_base
from facesmith.methods.video_lora.clips import check_drawn, resample
from facesmith.methods.video_lora.framing import resize_and_crop
from facesmith.methods.video_lora.generation import GenerationConfig, VideoGenerator, window_starts
from facesmith.methods.video_lora.memory_check import check_generation_memory
from facesmith.methods.video_lora.memory_estimate import ClipShape, sequence_length
from facesmith.progress import progress_bar
from facesmith.tasks.batch import Batch
from facesmith.tasks.generate.config import GenerateTaskConfig
from facesmith.tasks.generate.references import choose_references
from facesmith.terminal import make_console, print_line

log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]

LOG: Final = "generated.json"  # key of each finished video by file name
CONTACT_SHEET: Final = "contact_sheet.png"
WAN_FPS: Final = 16.0
_SAME_EMBEDDING: Final = 0.999  # cosine similarity
_SAME_RATE: Final = 0.05  # frames per second
_SENSIBLE: Final = (0.1, 2.0)  # of face_scale
_FRAMES_SHOWN: Final = 3  # of a video in the contact sheet


class _Video(NamedTuple):
    """A video to be generated."""

    poses: Path
    seed: int
    path: Path


class GenerateTask:
    """Generate a person to every pose video, once for each seed.

    Args:
        config: Settings of the task.
        progress: Whether a bar is shown.
        analyzer: Makes what recognises the person in photos of `references`; None: they are not compared.

    Raises:
        UserError: model, base, poses or output do not fit together.
    """

    def __init__(
        self, config: GenerateTaskConfig, progress: bool = True, *, analyzer: Callable[[], Analyzer] | None = None
    ) -> None:
        self._config, self._progress = config, progress
        self._bundle = load_bundle(config.model)
        facts = self._bundle.facts
        self._base = open_base(config.base or str(facts["base"]), "task.base")
        check_signing()
        found = find_media(config.source, output=config.output)
        poses = [media.path for media in found if media.kind == "video"]
        if not poses:
            raise UserError(f"source={config.source}: holds no video; give pose videos")
        self._videos = _plan_videos(poses, config.seeds, config.output)
        self._generation = GenerationConfig(
            prompt=config.prompt or facts["prompt"],
            negative_prompt=facts["negative_prompt"] if config.negative_prompt is None else config.negative_prompt,
            face_scale=config.face_scale,
            lora_scale=config.lora_scale,
            vace_scale=config.vace_scale,
            cfg_scale=config.cfg_scale,
            steps=config.steps,
            reference_scale=config.reference_scale,
        )
        profile = _read_profile(config.embedding, self._bundle)
        self._embedding = None if profile is None else torch.tensor(profile.embedding_mean)
        other = None if self._embedding is None or _is_person(self._embedding, self._bundle) else profile
        self._references = choose_references(config.references, self._bundle, analyzer, other)
        self._model_hash = file_sha256(config.model / LORA if config.model.is_dir() else config.model)
        _check_sizes(config, self._base)
        for lora in config.loras:
            if not lora.file.is_file():
                raise UserError(f"task.loras: {lora.file} is no file; give a LoRA of Wan")
        if not self._bundle.gate_tokens:
            if config.face_scale != 1:
                log.warning("face_scale=%g: this person was trained without tokens; use lora_scale", config.face_scale)
        elif not _SENSIBLE[0] <= config.face_scale <= _SENSIBLE[1] and config.face_scale != 0:
            log.warning(
                "face_scale=%g: 0.25 is subtle, 1 as trained, 1.5 strong; above 2 faces break",
                config.face_scale,
            )

    def run(self) -> list[Path]:
        """Generate the videos that are missing, and a contact sheet of several; return all files."""
        log_path = self._videos[0].path.parent / LOG
        done = read_json_object(log_path) if self._config.resume else {}
        keys = {video: self._key(video) for video in self._videos}
        todo = [video for video, key in keys.items() if done.get(video.path.name) != key or not video.path.exists()]
        console = make_console()
        if len(todo) < len(self._videos):
            finished = len(self._videos) - len(todo)
            print_line(f"{finished} of {len(self._videos)} videos exist already", console)
        made = self._generate(todo, console, lambda video: self._note(log_path, done, video, keys[video]))
        videos = [video for video in self._videos if video not in todo or video in made]
        paths = [video.path for video in videos]
        if len(paths) > 1:
            sheet = log_path.with_name(CONTACT_SHEET)
            write_image(sheet, _contact_sheet(videos), mark=self._mark("contact sheet"))
            paths.append(sheet)
        for path in paths:
            print_line(str(path), console)
        return paths

    def _generate(self, todo: Sequence[_Video], console: Console, note: Callable[[_Video], None]) -> set[_Video]:
        """Generate videos; one that fails is skipped, and told."""
        if not todo:
            return set()
        made: set[_Video] = set()
        with progress_bar(shown=self._progress, console=console) as bar:
            batch = Batch(len(todo), lambda line: print_line(line, bar.console), self._config)
            found = {
                poses: batch.run(poses, partial(self._shape, poses))
                for poses in dict.fromkeys(video.poses for video in todo)
            }
            shapes = {poses: shape for poses, shape in found.items() if shape is not None}
            batch.require_any(shapes, f"source={self._config.source}: cannot read any of")
            generator = self._load_generator(list(shapes.values()))
            windows = sum(len(self._windows(shapes[video.poses])) for video in todo if video.poses in shapes)
            task = bar.add_task("steps", total=windows * self._generation.steps)

            def generate(video: _Video) -> None:
                frames, fps = self._read(video.poses, shapes[video.poses])
                bar.update(task, description=video.path.name)
                generated = generator.generate_long(
                    frames,
                    self._generation,
                    video.seed,
                    window=self._config.num_frames,
                    overlap=self._config.overlap,
                    on_step=lambda: bar.advance(task),
                    references=self._references,
                )
                self._write(video.path, generated, fps)
                note(video)
                made.add(video)

            try:
                for video in todo:
                    if video.poses in shapes:
                        batch.run(video.poses, partial(generate, video))
            except KeyboardInterrupt:
                count = len(self._videos) - len(todo) + len(made)
                print_line(
                    f"{count} of {len(self._videos)} videos are made; the same command makes the rest", bar.console
                )
                raise
            batch.require_any(made, f"source={self._config.source}: nothing generated to any of")
        return made

    def _windows(self, shape: ClipShape) -> list[int]:
        """Return the first frame of each part that is generated at a time."""
        config = self._config
        return window_starts(shape.frames, config.num_frames, config.overlap) if config.overlap else [0]

    def _note(self, log_path: Path, done: dict[str, Any], video: _Video, key: str) -> None:
        done[video.path.name] = key
        write_text(log_path, json.dumps(done, indent=1))

    def _load_generator(self, shapes: Sequence[ClipShape]) -> VideoGenerator:
        config = self._config
        longest = [replace(shape, frames=min(shape.frames, config.num_frames)) for shape in shapes]
        check_generation_memory(
            self._base,
            max(longest, key=lambda shape: sequence_length(self._base, shape)),
            storage=config.base_storage,
            offload=config.offload,
            setting=f"task.base={self._base.name}",
        )
        return VideoGenerator(
            self._base,
            self._bundle,
            scheduler=config.scheduler,
            offload=config.offload,
            storage=config.base_storage,
            embedding=self._embedding,
            shift=config.shift,
            loras=[(lora.file, lora.scale) for lora in config.loras],
        )

    def _shape(self, poses: Path) -> ClipShape:
        """Return the size that the base takes nearest to a pose video's, and all its frames at the base's rate."""
        multiple, step = self._base.size_multiple, self._base.temporal_compression
        sizes = (self._config.height, self._config.width)
        with open_video(poses) as reader:
            check_drawn(poses, reader, "give a pose video that shows a person")
            taken = self._frames(reader)
            most = len(taken) if self._config.overlap else min(len(taken), self._config.num_frames)
            count = (most - 1) // step * step + 1
            height, width = (
                given or max(multiple, round(own / multiple) * multiple)
                for given, own in zip(sizes, (reader.height, reader.width), strict=True)
            )
            if len(set(taken)) < len(reader) or len(taken) > len(reader):
                rates = (len(reader), reader.fps, len(taken), self._rate(reader))
                log.info("%s: %d frames at %.4g a second become %d at %.4g", poses, *rates)
            if len(taken) > count:
                why = "task.num_frames, task.overlap" if most < len(taken) else f"one more than a multiple of {step}"
                log.warning("%s: has %d frames, the first %d are used (%s)", poses, len(taken), count, why)
            if (reader.height, reader.width) != (height, width):
                log.warning(
                    "%s: is %dx%d px, generated at %dx%d and cropped to fit; sizes are multiples of %d",
                    poses,
                    reader.height,
                    reader.width,
                    height,
                    width,
                    multiple,
                )
        return ClipShape(count, height, width, photos=len(self._references))

    def _rate(self, reader: VideoReader) -> float:
        """Return the frames per second of the output."""
        return float(self._config.fps or self._bundle.facts.get("fps", WAN_FPS) or reader.fps)

    def _frames(self, reader: VideoReader) -> list[int]:
        """Return the frames of a pose video that are shown at the base's rate."""
        rate = self._rate(reader)
        return resample(np.asarray(reader.times, np.float64), None if abs(rate - reader.fps) < _SAME_RATE else rate)

    def _read(self, poses: Path, shape: ClipShape) -> tuple[Pixels, float]:
        """Read a pose video at the size, rate and length that the base takes."""
        with open_video(poses) as reader:
            taken = self._frames(reader)[: shape.frames]
            wanted = sorted(set(taken))
            found = {index: resize_and_crop(frame, shape.height, shape.width) for index, frame in reader.frames(wanted)}
            lost = [index for index in wanted if index not in found]
            if lost:
                raise UserError(f"{poses}: frame {lost[0]} is damaged; repair or remove the video")
            frames = np.stack([found[index] for index in taken])
            return frames, self._rate(reader)

    def _write(self, path: Path, frames: Pixels, fps: float) -> None:
        mark = self._mark("dance generated to poses")
        with VideoWriter(path, mark=mark, fps=fps, crf=self._config.crf) as writer:
            for frame in frames:
                writer.write(frame)

    def _mark(self, title: str) -> Mark:
        facts = self._bundle.facts
        return Mark(
            identity=str(facts["identity"]),
            consent=str(facts["consent"]),
            model_hash=self._model_hash,
            title=title,
            kind="generated",
        )

    def _key(self, video: _Video) -> str:
        """Hash everything that decides a video, into 16 hex digits; the names are those of logs on users' disks."""
        config = self._config
        settings = {
            **asdict(self._generation),
            "pose": file_sha256(video.poses),
            "model": self._model_hash,
            "seed": video.seed,
            "size": (config.height, config.width),
            "num_frames": config.num_frames,
            "fps": config.fps,
            "overlap": config.overlap,
            "loras": [(file_sha256(lora.file), lora.scale) for lora in config.loras],
            "shift": config.shift,
            "scheduler": config.scheduler,
            "storage": config.base_storage,
            "references": [sha256_of(photo) for photo in self._references],
            "embedding": None if self._embedding is None else self._embedding.tolist(),
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def sha256_of(picture: Pixels) -> str:
    """Return a hash of a picture's pixels."""
    return hashlib.sha256(f"{picture.shape}".encode() + picture.tobytes()).hexdigest()


def _check_sizes(config: GenerateTaskConfig, base: Base) -> None:
    multiple = base.size_multiple
    for key, size in (("height", config.height), ("width", config.width)):
        if size is not None and size % multiple:
            near = max(multiple, round(size / multiple) * multiple)
            raise UserError(f"task.{key}={size}: must be a multiple of {multiple}, such as {near}")


def _plan_videos(poses: Sequence[Path], seeds: Sequence[int], output: Path) -> list[_Video]:
    if output.suffix.lower() in VIDEOS and not output.is_dir():
        if len(poses) * len(seeds) > 1:
            raise UserError(
                f"output={output}: is a file, but {len(poses) * len(seeds)} videos are wanted; give a folder"
            )
        if output.suffix.lower() != ".mp4":
            raise UserError(f"output={output}: unknown suffix; use .mp4")
        return [_Video(poses[0], seeds[0], output)]
    stems = [path.stem.removesuffix("_pose") for path in poses]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise UserError(f"source: several pose videos are called {', '.join(twice)}; rename them")
    return [
        _Video(path, seed, output / f"{stem}_seed{seed}.mp4")
        for path, stem in zip(poses, stems, strict=True)
        for seed in seeds
    ]


def _read_profile(path: Path | None, bundle: AdapterBundle) -> IdentityProfile | None:
    if path is None:
        return None
    profile = IdentityProfile.load(path)
    if profile.embedder != bundle.facts["encoder"]:
        raise UserError(
            f"task.embedding={path}: was made with {profile.embedder}, the mapper reads {bundle.facts['encoder']}; "
            "make it with that encoder"
        )
    return profile


def _is_person(embedding: Tensor, bundle: AdapterBundle) -> bool:
    """Return whether an embedding is that of the bundle's first person."""
    return len(embedding) == len(bundle.embedding) and float(embedding @ bundle.embedding) > _SAME_EMBEDDING


def _contact_sheet(videos: Sequence[_Video]) -> Pixels:
    """Show some frames of everything, a row for each pose video: the poses, then every seed."""
    rows = []
    for poses in dict.fromkeys(video.poses for video in videos):
        paths = [video.path for video in videos if video.poses == poses]
        rows.append(np.concatenate([_film_strip(poses), *(_film_strip(path) for path in paths)], 1))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0))) for row in rows], 0)


def _film_strip(path: Path, height: int = 160) -> Pixels:
    with open_video(path) as reader:
        frames = [frame for _, frame in reader.frames(evenly_spaced(len(reader), _FRAMES_SHOWN, ends=True))]
    width = round(frames[0].shape[1] * height / frames[0].shape[0])
    small = [resize_and_crop(frame, height, width) for frame in frames]
    return np.pad(np.concatenate(small, 1), ((0, 0), (0, 4), (0, 0)))
