"""Photos, dances and poses in, cached batches out."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import DataLoader

from facesmith import assets
from facesmith.config.settings import Component
from facesmith.errors import UserError
from facesmith.faces.face_set.content_key import ContentHashes
from facesmith.media.provenance import Mark
from facesmith.media.sampling import evenly_spaced
from facesmith.media.sources import find_media
from facesmith.methods.video_lora import cache
from facesmith.methods.video_lora.base import Base, open_base
from facesmith.methods.video_lora.cache import Cache
from facesmith.methods.video_lora.clips import Clip, Fate, Frames, cut, find_videos, pair_up, read_clip, write_table
from facesmith.methods.video_lora.config import VideoLoraDataModuleConfig
from facesmith.methods.video_lora.dataset import Batch, BucketSampler, ClipDataset, Item, collated, padded
from facesmith.methods.video_lora.evaluation import JudgesVideos
from facesmith.methods.video_lora.identities import References, Sources, dancers, described, some_photos, sources_of
from facesmith.methods.video_lora.memory_check import tell_training
from facesmith.methods.video_lora.sampling import control_of
from facesmith.methods.video_lora.text_encoding import cached_texts
from facesmith.training.loaders import ResumableLoader

log = logging.getLogger(__name__)


class VideoLoraDataModule(LightningDataModule):
    """Photos of a person, or of several, and dances with their poses.

    VAE, text encoder, face encoder and the base itself run in `prepare_data`, one after the other, and are gone when
    training starts. Raises UserError when media do not fit together or leave nothing to train on.
    """

    people: dict[str, References]
    training: ClipDataset
    validation: ClipDataset
    validated: list[Clip]
    negative: Tensor
    batches_per_epoch: int

    def __init__(self, config: VideoLoraDataModuleConfig) -> None:
        super().__init__()
        self.config: Any = config
        self.base: Base = open_base(config.base)
        self.cache = Cache(config.cache)
        self.judge: JudgesVideos = _built(config.judge)
        self._blanks: dict[cache.Bucket, Tensor] = {}
        self._told: list[Fate] = []

    def prepare_data(self) -> None:
        """Encode what the cache lacks."""
        with isolate_rng():  # what is trained must not depend on what was cached
            if self.trainer is not None:
                tell_training(self.base, self.trainer.lightning_module.config, self.config)
            self._prepared()

    def setup(self, stage: str) -> None:
        """Find everything in the cache and deal it out."""
        if hasattr(self, "training"):
            return
        with isolate_rng():
            clips, items, prior, negative = self._prepared()
        held = self._held_out([clip.pair.stem for clip in clips])
        checked = [number for number, clip in enumerate(clips) if clip.pair.stem in held]
        if not checked:
            log.info("data.holdout leaves no clip aside: validation shows clips that are trained on")
            checked = list(range(len(clips)))
        few = evenly_spaced(len(checked), self.config.validation_clips, ends=True)
        self.validated = [clips[checked[number]] for number in few]
        self.negative = padded(self.cache.read(negative)["rows"], self.config.text_length)
        trained = [item for item, clip in zip(items, clips, strict=True) if clip.pair.stem not in held]
        self.training = self._dataset([*trained, *prior])
        self.validation = self._dataset([items[checked[number]] for number in few])
        self.batches_per_epoch = len(self._sampler())

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of one size each; the loader's place is saved and found again."""
        return ResumableLoader(
            self.training,
            self._sampler(),
            collate_fn=collated,
            num_workers=self.config.workers,
            persistent_workers=self.config.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """The held-out clips, one by one."""
        return DataLoader(self.validation, batch_size=1, collate_fn=collated)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Complete the control by what is the same for all clips of a size; in training draw whose photo is read.

        Drawn here, in the main process, what is random is restored when a run goes on.
        """
        frames, height, width = batch["steer"].shape[2:]
        blank = self._blanks[(frames - 1) * self.base.times + 1, height * self.base.side, width * self.base.side]
        whole = {**batch, "control": control_of(batch["steer"], blank.to(batch["steer"]), self.base.side)}
        if self.trainer is not None and self.trainer.training and self.config.single_face:
            photos = list(self.people.values())
            whole["face"] = some_photos(photos, batch["face"], batch["person"], self.config.single_face)
        return whole

    @property
    def embedding_size(self) -> int:
        """Numbers of a face embedding."""
        return next(iter(self.people.values())).embeddings.shape[1]

    def dancer(self, number: int) -> References:
        """Return the photos of who dances in a validated clip."""
        return list(self.people.values())[self.validation.items[number].person]

    def frames(self, number: int) -> tuple[Frames, Frames]:
        """Return the dance and the poses (T,H,W,3) uint8 of a validated clip."""
        clip = self.validated[number]
        return read_clip(clip, clip.pair.video), read_clip(clip, clip.pair.pose)

    def provenance(self) -> dict[str, Any]:
        """Say whose face it is and what it was trained on, in plain values: what checkpoints and exports carry."""
        first = next(iter(self.people.values()))
        return {
            "identity": ",".join(self.people),
            "consent": self.config.consent,
            "consent_note": self.config.consent_note or "",
            "expires": self.config.expires,
            "encoder": first.encoder,
            "embedding": first.identity.tolist(),
            "people": described(self.people),
            "clips": len({item.clip for item in self.training.items}),
            "prompt": self.config.prompt,
            "negative_prompt": self.config.negative_prompt,
            "text_length": self.config.text_length,
        }

    def teardown(self, stage: str) -> None:
        """Return the judge's native sessions back."""
        self.judge.close()

    def _prepared(self) -> tuple[list[Clip], list[Item], list[Item], Path]:
        """Return clips, their items, the base's own items and the negative prompt's entry; encode what is missing."""
        config, shown = self.config, self.config.progress
        hashes = ContentHashes(config.cache / "contents.json")
        clips = self._cut()
        self.people = {name: self._photos(hashes, name, photos) for name, photos in self._sources().items()}
        prompts = [clip.pair.prompt or config.prompt for clip in clips]
        *texts, negative = cached_texts(
            self.base, self.cache, [*prompts, config.negative_prompt], config.text_length, config.face_tokens, shown
        )
        told = config.judge.model_dump_json(by_alias=True)
        paths = cache.encode_clips(self.base, self.cache, hashes, clips, self.judge, told, shown)
        blanks = cache.encode_blanks(self.base, self.cache, [clip.bucket for clip in clips])
        hashes.save()
        self._blanks = {bucket: self.cache.read(path)["latents"][None] for bucket, path in blanks.items()}
        who = dancers([clip.pair.stem for clip in clips], list(self.people))
        items = [
            Item(path, path, text, clip.bucket, False, person)
            for clip, path, text, person in zip(clips, paths, texts, who, strict=True)
        ]
        return clips, items, self._prior(clips, items, blanks, negative), negative

    def _prior(
        self, clips: Sequence[Clip], items: Sequence[Item], blanks: dict[cache.Bucket, Path], negative: Path
    ) -> list[Item]:
        prior = self.config.prior
        if prior is None:
            return []
        held = self._held_out([clip.pair.stem for clip in clips])
        trained = [item for item, clip in zip(items, clips, strict=True) if clip.pair.stem not in held]
        followed = [trained[number % len(trained)] for number in range(prior.clips)]
        drawn = cache.draw_prior(
            self.base,
            self.cache,
            [item.clip for item in followed],
            [item.text for item in followed],
            [blanks[item.bucket] for item in followed],
            negative,
            text_length=self.config.text_length,
            steps=prior.steps,
            cfg_scale=prior.cfg_scale,
            shown=self.config.progress,
        )
        return [
            Item(path, item.clip, item.text, item.bucket, True, item.person)
            for path, item in zip(drawn, followed, strict=True)
        ]

    def _sources(self) -> dict[str, Sources]:
        return sources_of(self.config.faces, self.config.name)

    def _photos(self, hashes: ContentHashes, name: str, source: Sources) -> References:
        config = self.config
        photos = [media.path for media in find_media(_resolved(source)) if media.kind == "image"]
        if not photos:
            raise UserError(
                f"data.faces: {source} holds no photo of {name}; give a folder of 3 to 20 photos of one person"
            )
        return cache.encode_faces(
            self.cache, hashes, photos, lambda: _built(config.reader), config.reader.model_dump_json(by_alias=True)
        )

    def _cut(self) -> list[Clip]:
        config, multiple = self.config, self.base.multiple
        for key in ("height", "width"):
            size = getattr(config, key)
            if size % multiple:
                near = max(multiple, round(size / multiple) * multiple)
                raise UserError(f"data.{key}={size}: must be a multiple of {multiple}, such as {near}")
        height, width = config.height, config.width
        square = round((height * width) ** 0.5 / multiple) * multiple
        sizes = [(height, width), (width, height), (square, square)] if config.other_shapes else [(height, width)]
        if config.make_poses:
            self._make_poses()
        pairs, lost = pair_up(config.videos, config.poses or config.videos, config.unpaired)
        clips, fates = cut(
            pairs,
            frames=config.num_frames,
            min_frames=config.min_frames,
            stride=config.stride or config.num_frames,
            sizes=list(dict.fromkeys(sizes)),
            fps=config.fps,
            step=self.base.times,
            unpaired=config.unpaired,
        )
        fates = [*fates, *lost]
        if fates != self._told:  # asked for twice, by prepare_data and by setup
            self._told = fates
            log.info("%s", write_table(fates, config.table))
        return clips

    def _make_poses(self) -> None:
        """Draw the pose videos that are missing."""
        from facesmith.methods.video_lora import poses  # MediaPipe is loaded by those who need it

        config = self.config
        folder = config.poses or config.videos
        there = find_videos(folder, "data.poses") if folder.is_dir() and any(folder.iterdir()) else []
        mark = Mark(
            identity=config.name, consent=config.consent, model_hash=None, title="pose drawing", kind="generated"
        )
        todo = poses.missing_poses(find_videos(config.videos, "data.videos"), there, folder)
        for dance, target in todo.items():
            poses.pose_video(dance, target, mark, config.progress)
        if todo:
            log.info("%d pose videos were drawn into %s: look at them before training", len(todo), folder)

    def _held_out(self, stems: Sequence[str]) -> set[str]:
        """Return the videos that are never trained on: whole videos, for clips of one are alike."""
        holdout, known = self.config.holdout, list(dict.fromkeys(stems))
        if isinstance(holdout, float):
            count = min(len(known) - 1, max(1, round(holdout * len(known)))) if holdout else 0
            return set(known[len(known) - count :])
        unknown = sorted(set(holdout) - set(known))
        if unknown:
            raise UserError(f"data.holdout: no video is called {', '.join(unknown)}; there are {', '.join(known[:12])}")
        if len(holdout) == len(known):
            raise UserError(f"data.holdout={holdout}: leaves nothing to train on; hold fewer videos out")
        return set(holdout)

    def _sampler(self) -> BucketSampler:
        return BucketSampler(
            [item.bucket for item in self.training.items],
            np.array([item.prior for item in self.training.items]),
            batch_size=self.config.batch_size,
            prior_share=self.config.prior.share if self.config.prior else 0.0,
            repeats=self.config.repeats,
            seed=torch.initial_seed() % 2**32,
        )

    def _dataset(self, items: list[Item]) -> ClipDataset:
        return ClipDataset(
            items,
            identities=torch.stack([one.identity for one in self.people.values()]),
            text_length=self.config.text_length,
            factor=(self.base.times, self.base.side),
        )


def _built(component: Component) -> Any:
    """Build a component whose own components it makes itself, when it needs them."""
    inner = {key: value.build for key, value in component.arguments().items() if isinstance(value, Component)}
    return component.build(**inner)


def _resolved(source: Sources) -> list[str]:
    return [str(assets.resolve(one)) for one in ([source] if isinstance(source, str) else source)]
