"""`VideoLoraDataModule`: photos, dances and pose videos in, batches of cached latents out."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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
from facesmith.media.images import read_image
from facesmith.media.provenance import Mark
from facesmith.media.sampling import evenly_spaced
from facesmith.media.sources import find_media
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.cache import Cache
from facesmith.methods.video_lora.clips import (
    Bucket,
    Clip,
    cut_clips,
    find_videos,
    hold_out,
    pair_videos,
    read_clip,
    read_prompt,
    write_table,
)
from facesmith.methods.video_lora.config import VideoLoraDataModuleConfig, VideoLoraModuleConfig
from facesmith.methods.video_lora.dataset import Batch, BucketSampler, ClipDataset, ClipItem, collate
from facesmith.methods.video_lora.encoding import (
    embed_photos,
    encode_blanks,
    encode_clips,
    encode_photos,
    generate_prior_clips,
)
from facesmith.methods.video_lora.evaluation import VideoEvaluator
from facesmith.methods.video_lora.face_embeddings import FaceEmbeddings
from facesmith.methods.video_lora.framing import nearest_size
from facesmith.methods.video_lora.identities import (
    Sources,
    assign_identities,
    describe_identities,
    photo_sources,
    sample_single_photos,
)
from facesmith.methods.video_lora.latents import vace_control
from facesmith.methods.video_lora.references import References, Size, best_portraits, encode_references
from facesmith.methods.video_lora.start_checks import check_embedding_size, check_start
from facesmith.methods.video_lora.text_encoding import cache_prompts, pad_rows
from facesmith.methods.video_lora.validation import ValidationClip
from facesmith.training.distributed import require_even_shares
from facesmith.training.loaders import ResumableLoader

log = logging.getLogger(__name__)


class _Photo(NamedTuple):
    """A photo that is trained on as a video of one frame: `number` counts its person's portraits."""

    file: Path
    box: tuple[float, ...] | None
    size: Size
    identity: int
    number: int


class VideoLoraDataModule(LightningDataModule):
    """Photos of a person, or of several, and dances with their pose videos.

    VAE, text encoder, face encoder and the base itself run in `prepare_data`, one after the other, and are gone when
    training starts.

    Attributes:
        people: Face embeddings of everybody, by name.
        training: What is trained on, the base's own clips included.
        validation: The held-out clips.
        negative: (L,W), the encoded negative prompt.
        batches_per_epoch: Of the training.

    Args:
        config: Of the data.

    Raises:
        UserError: from its methods, when media do not fit together or leave nothing to train on.
    """

    shares_batches = True
    """Processes of a distributed run train on parts of the same batches."""

    people: dict[str, FaceEmbeddings]
    training: ClipDataset
    validation: ClipDataset
    negative: Tensor
    batches_per_epoch: int

    def __init__(self, config: VideoLoraDataModuleConfig) -> None:
        super().__init__()
        self.config = config
        self.base = open_base(config.base)
        self.cache = Cache(config.cache)
        self.evaluator: VideoEvaluator = _build(config.evaluator)
        self._blanks: dict[Bucket, Tensor] = {}
        self._references: References | None = None
        self._clips: list[Clip] = []
        self._validation_clips: list[Clip] = []
        self._photo_files: dict[str, list[Path]] = {}
        self._empty = torch.zeros(0)

    def prepare_data(self) -> None:
        """Encode what the cache lacks."""
        with isolate_rng():  # what is trained must not depend on what was cached
            if (model := self._model()) is not None and self.trainer is not None:
                check_start(self.base, model, self.config, str(self.trainer.precision))
            self._encode()

    def setup(self, stage: str) -> None:
        """Find everything in the cache, and split it into training and validation."""
        if hasattr(self, "training"):
            return
        with isolate_rng():
            clips, items, others, negative = self._encode()
        held_out = hold_out(clips, self.config.holdout)
        validated = [number for number, clip in enumerate(clips) if clip.pair.stem in held_out]
        if not validated:
            log.info("data.holdout keeps no clip for validation: it shows clips that are trained on")
            validated = list(range(len(clips)))
        few = evenly_spaced(len(validated), self.config.validation_clips, ends=True)
        self._validation_clips = [clips[validated[number]] for number in few]
        self.negative = pad_rows(self.cache.read(negative)["rows"], self.config.text_length)
        trained = [item for item, clip in zip(items, clips, strict=True) if clip.pair.stem not in held_out]
        self.training = self._dataset([*trained, *others])
        self.validation = self._dataset([items[validated[number]] for number in few])
        self.batches_per_epoch = len(self._sampler())

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return batches of one size each; the loader's place is part of checkpoints.

        Every process gets whole batches: noise and photos are drawn for all rows, and the module keeps its own.
        """
        require_even_shares(self.config.batch_size, self.trainer.world_size if self.trainer else 1)
        return ResumableLoader(
            self.training,
            self._sampler(),
            collate_fn=collate,
            num_workers=self.config.workers,
            persistent_workers=self.config.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the held-out clips, one by one."""
        return DataLoader(self.validation, batch_size=1, collate_fn=collate)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Add VACE's control, and in training reference photos and, for some samples, a single photo's embedding.

        Photos are drawn here, in the main process: its random state is restored when a run is resumed.

        Args:
            batch: Of `collate`, on the device.
            dataloader_idx: Of Lightning.

        Returns:
            The batch with `control` (N,_,R+F,h,w), with `references` (N,C,R,h,w) where there are photos, and in
            training another `face` (N,E). In validation the photos are the best ones, and not part of the control.
        """
        poses, base = batch["poses"], self.base
        frames, height, width = poses.shape[2:]
        side = base.spatial_compression
        blank = self._blanks[(frames - 1) * base.temporal_compression + 1, height * side, width * side]
        training = self.trainer is not None and self.trainer.training
        references = None
        if self._references is not None:
            draw = self._references.draw if training else self._references.best
            references = draw(batch, (height * side, width * side))
        control = vace_control(poses, blank.to(poses), side, references if training else None)
        complete = {**batch, "control": control, **({} if references is None else {"references": references})}
        if training and self.config.caption_dropout:
            dropped = torch.rand(len(poses), 1, 1, device=poses.device) < self.config.caption_dropout
            complete["text"] = torch.where(dropped, self._empty.to(batch["text"]), batch["text"])
        if training and self.config.single_face:
            people = list(self.people.values())
            complete["face"] = sample_single_photos(people, batch["face"], batch["identity"], self.config.single_face)
        return complete

    def teardown(self, stage: str) -> None:
        """Free the evaluator's native sessions."""
        self.evaluator.close()

    @property
    def embedding_size(self) -> int:
        """Numbers of a face embedding."""
        return next(iter(self.people.values())).embeddings.shape[1]

    def validation_clip(self, index: int) -> ValidationClip:
        """Read the dance and the pose video of a held-out clip.

        Args:
            index: In `validation`.
        """
        clip, item = self._validation_clips[index], self.validation.items[index]
        person = list(self.people.values())[item.identity]
        return ValidationClip(clip.name, read_clip(clip, clip.pair.video), read_clip(clip, clip.pair.pose), person)

    def provenance(self) -> dict[str, Any]:
        """Return identity, consent and base, as plain values for checkpoints and exports."""
        first = next(iter(self.people.values()))
        return {
            "identity": ",".join(self.people),
            "consent": self.config.consent,
            "consent_note": self.config.consent_note or "",
            "expires": self.config.expires,
            "encoder": first.encoder,
            "embedding": first.mean.tolist(),
            "people": describe_identities(self.people),
            "recognised": first.recognised.tolist(),
            "recogniser": first.recogniser,
            "references": self.config.references.most if self.config.references else 0,
            "portraits": [torch.from_numpy(one) for one in best_portraits(list(self.people.values()))],
            "clips": len({item.clip for item in self.training.items if item.photo < 0}),
            "prompt": self._with_trigger(self.config.prompt),
            "negative_prompt": self.config.negative_prompt,
            "fps": self.config.fps,
            "text_length": self.config.text_length,
        }

    def _encode(self) -> tuple[list[Clip], list[ClipItem], list[ClipItem], Path]:
        """Return clips, their items, other items and the negative prompt's entry; encode what is missing.

        Other items are photos, and the base's own clips.
        """
        config, progress = self.config, self.config.progress
        hashes = ContentHashes(config.cache / "contents.json")
        sources = photo_sources(config.faces, config.name)
        self.people = {name: self._embed(hashes, name, source) for name, source in sources.items()}
        if (model := self._model()) is not None:
            check_embedding_size(model, self.embedding_size)
        clips = self._cut()
        hold_out(clips, self.config.holdout)
        photos = self._list_photos() if config.photos_share else []
        own = [clip.pair.prompt or config.prompt for clip in clips]
        own += [read_prompt(photo.file.with_suffix(".txt")) or config.photo_prompt for photo in photos]
        bare = own[: len(clips)]  # of the base's own clips, which do not show who the trigger stands for
        prompts = [*map(self._with_trigger, own), *bare, "", config.negative_prompt]
        *texts, empty, negative = cache_prompts(
            self.base, self.cache, prompts, config.text_length, config.face_tokens, progress
        )
        self._empty = pad_rows(self.cache.read(empty)["rows"], config.text_length)
        settings = config.evaluator.model_dump_json(by_alias=True)
        identities = assign_identities([clip.pair.stem for clip in clips], list(self.people))
        everybody = list(self.people.values())
        dancers = [everybody[identity] for identity in identities]
        paths = encode_clips(self.base, self.cache, hashes, clips, dancers, self.evaluator, settings, progress)
        buckets: list[Bucket] = [clip.bucket for clip in clips] + [(1, *photo.size) for photo in photos]
        blanks = encode_blanks(self.base, self.cache, buckets)
        stills = [(photo.file, photo.box, photo.size) for photo in photos]
        still_paths = encode_photos(self.base, self.cache, hashes, stills, blanks)
        if config.references is not None:
            sizes = [bucket[1:] for bucket in blanks]
            encoded = encode_references(self.base, self.cache, everybody, sizes)
            self._references = References(*encoded, most=config.references.most, share=config.references.share)
        hashes.save()
        self._blanks = {bucket: self.cache.read(path)["latents"][None] for bucket, path in blanks.items()}
        items = [
            ClipItem(path, path, text, clip.bucket, False, identity)
            for clip, path, text, identity in zip(clips, paths, texts[: len(clips)], identities, strict=True)
        ]
        others = [
            ClipItem(path, path, text, (1, *photo.size), False, photo.identity, photo.number)
            for photo, path, text in zip(photos, still_paths, texts[len(clips) : len(own)], strict=True)
        ]
        templates = [replace(item, text=text) for item, text in zip(items, texts[len(own) :], strict=True)]
        return clips, items, [*others, *self._generate_prior(clips, templates, blanks, negative)], negative

    def _with_trigger(self, prompt: str) -> str:
        return f"{self.config.trigger}, {prompt}" if self.config.trigger else prompt

    def _list_photos(self) -> list[_Photo]:
        """Return everybody's photos, each at the size whose shape is nearest."""
        found = []
        for identity, (name, person) in enumerate(self.people.items()):
            for number, place in enumerate(person.numbers):
                file = self._photo_files[name][place]
                box = tuple(person.boxes[place].tolist()) if len(person.boxes) else None
                height, width = read_image(file).shape[:2]
                found.append(_Photo(file, box, nearest_size(self._sizes(), height, width), identity, number))
        return found

    def _sizes(self) -> list[tuple[int, int]]:
        """Return the (height, width) that clips and photos may have."""
        height, width = self.config.height, self.config.width
        multiple = self.base.size_multiple
        square = round((height * width) ** 0.5 / multiple) * multiple
        shapes = [(height, width), (width, height), (square, square)] if self.config.other_shapes else [(height, width)]
        return list(dict.fromkeys(shapes))

    def _cut(self) -> list[Clip]:
        """Cut the dances into clips, once: prepare_data and setup both ask."""
        if self._clips:
            return self._clips
        config, multiple = self.config, self.base.size_multiple
        for key in ("height", "width"):
            size = getattr(config, key)
            if size % multiple:
                near = max(multiple, round(size / multiple) * multiple)
                raise UserError(f"data.{key}={size}: must be a multiple of {multiple}, such as {near}")
        if config.make_poses:
            self._make_poses()
        pairs, skipped = pair_videos(config.videos, config.poses or config.videos, config.unpaired)
        clips, reports = cut_clips(
            pairs,
            frames=config.num_frames,
            min_frames=config.min_frames,
            stride=config.stride or config.num_frames,
            sizes=self._sizes(),
            fps=config.fps,
            step=self.base.temporal_compression,
            unpaired=config.unpaired,
        )
        log.info("%s", write_table([*reports, *skipped], config.table))
        self._clips = clips
        return clips

    def _make_poses(self) -> None:
        """Write the pose videos that are missing."""
        from facesmith.methods.video_lora import poses  # MediaPipe is loaded by those who need it

        config = self.config
        folder = config.poses or config.videos
        present = find_videos(folder, "data.poses") if folder.is_dir() and any(folder.iterdir()) else []
        mark = Mark(
            identity=config.name, consent=config.consent, model_hash=None, title="pose drawing", kind="generated"
        )
        todo = poses.find_missing_poses(find_videos(config.videos, "data.videos"), present, folder)
        written = 0
        for dance, target in todo.items():
            try:
                recognise = partial(self.evaluator.recognise, person=self._dancer(dance))
                poses.render_pose_video(
                    dance, target, mark, config.progress, config.pose_style, config.min_limbs, recognise
                )
                written += 1
            except UserError as error:
                if config.unpaired == "refuse" or len(todo) == 1:
                    raise
                log.warning("%s: skipped", error)  # pairing names it too
        if written:
            log.info("Wrote %d pose videos to %s: look at them before training", written, folder)

    def _dancer(self, dance: Path) -> FaceEmbeddings:
        """Return who dances in a video, by its name."""
        (identity,) = assign_identities([dance.stem], list(self.people), complete=False)
        return list(self.people.values())[identity]

    def _embed(self, hashes: ContentHashes, name: str, source: Sources) -> FaceEmbeddings:
        config = self.config
        sources = [str(assets.resolve(one)) for one in ([source] if isinstance(source, str) else source)]
        photos = [media.path for media in find_media(sources) if media.kind == "image"]
        if not photos:
            raise UserError(
                f"data.faces: {source} holds no photo of {name}; give a folder of 3 to 20 photos of one person"
            )
        self._photo_files[name] = photos
        settings = config.face_encoder.model_dump_json(by_alias=True)
        return embed_photos(self.cache, hashes, photos, lambda: _build(config.face_encoder), settings)

    def _generate_prior(
        self, clips: Sequence[Clip], items: Sequence[ClipItem], blanks: dict[Bucket, Path], negative: Path
    ) -> list[ClipItem]:
        prior = self.config.prior
        if prior is None:
            return []
        held_out = hold_out(clips, self.config.holdout)
        trained = [item for item, clip in zip(items, clips, strict=True) if clip.pair.stem not in held_out]
        templates = [trained[number % len(trained)] for number in range(prior.clips)]
        paths = generate_prior_clips(
            self.base,
            self.cache,
            templates,
            blanks,
            negative,
            text_length=self.config.text_length,
            steps=prior.steps,
            cfg_scale=prior.cfg_scale,
            progress=self.config.progress,
            **self._placement(),
        )
        return [
            ClipItem(path, item.clip, item.text, item.bucket, True, item.identity)
            for path, item in zip(paths, templates, strict=True)
        ]

    def _model(self) -> VideoLoraModuleConfig | None:
        """Return the settings of the model that is trained on this; None without a trainer."""
        if self.trainer is None:
            return None
        model = self.trainer.lightning_module.config
        assert isinstance(model, VideoLoraModuleConfig)
        return model

    def _placement(self) -> dict[str, Any]:
        """Return how the model stores the base's weights, and whether its blocks are streamed."""
        model = self._model()
        return {} if model is None else {"storage": model.base_storage, "streamed": model.stream_blocks}

    def _dataset(self, items: list[ClipItem]) -> ClipDataset:
        return ClipDataset(
            items,
            faces=torch.stack([one.mean for one in self.people.values()]),
            text_length=self.config.text_length,
            factor=(self.base.temporal_compression, self.base.spatial_compression),
        )

    def _sampler(self) -> BucketSampler:
        return BucketSampler(
            [item.bucket for item in self.training.items],
            np.array([item.prior for item in self.training.items]),
            batch_size=self.config.batch_size,
            prior_share=self.config.prior.share if self.config.prior else 0.0,
            repeats=self.config.repeats,
            seed=torch.initial_seed() % 2**32,
            photos=np.array([item.photo >= 0 for item in self.training.items]),
            photos_share=self.config.photos_share,
        )


def _build(component: Component) -> Any:
    """Build a component; its own components it builds itself, when it needs them."""
    inner = {key: value.build for key, value in component.arguments().items() if isinstance(value, Component)}
    return component.build(**inner)
