"""Faces in, batches out: extraction, pseudo ground truth, loaders, and what the profile and the gate need to know."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from facesmith.errors import UserError
from facesmith.faces.face_set.extraction import ExtractionSettings, extract
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.faces.pseudo_labels.training_items import TrainingItems
from facesmith.methods.swapper.config import FacesDataConfig
from facesmith.methods.swapper.dataset import MixedBatchSampler, SwapperDataset, as_floats, unchanged
from facesmith.methods.swapper.splits import Cast, Recipe, split_frames, split_scenes, spread
from facesmith.methods.swapper.validation import HELD_FRAME, HELD_TARGET, SEEN, Gate, Shot
from facesmith.metrics.swap import Quality
from facesmith.training.loaders import ResumableLoader

log = logging.getLogger(__name__)

Batch = dict[str, Tensor]

_VALIDATION_BATCH: Final = 8


class Textures(NamedTuple):
    """Pictures of the person (K,S,S,3) uint8 RGB; eyes and mouth (2,S,S) and skin (S,S) in canonical coordinates."""

    textures: Tensor
    regions: Tensor
    core: Tensor


class SwapperDataModule(LightningDataModule):
    """One person's faces and the scenes to put that person into.

    Raises UserError when media hold no usable face, or the settings leave nothing to train on.
    """

    shares_batches = True
    """Processes of a distributed run get parts of the same batches."""

    def __init__(
        self, config: FacesDataConfig, *, identity: str | None = None, sizes: tuple[int, int] | None = None
    ) -> None:
        """Take the settings; identity and sizes (px of the crops, and of what is trained on) where these do not say."""
        super().__init__()
        settings: Any = config
        self.config = settings
        self.identity: str = identity or config.name
        self.size: int
        self.train_size: int
        self.size, self.train_size = sizes or (self.config.size, self.config.train_size)
        self.recipe = Recipe(size=self.size, **config.pseudo_truth.model_dump())
        self.augment = self._augment()
        self.casts: list[Cast] = []
        self.figures: dict[str, float] = {}
        """The last figures of the quality gate, by metric name."""
        self.quality: dict[str, Quality] = {}
        """The last verdicts, target by target: before, val, val_holdout."""
        self._gate: Gate | None = None

    def prepare_data(self) -> None:
        """Extract the faces and make the pseudo ground truth, or find both made already."""
        self.casts = self._cast()
        for cast in self.casts:
            cast.training(self.recipe, self.config.progress)
            cast.held_targets(self.recipe, self.config.validation_faces, self.config.progress)

    def setup(self, stage: str) -> None:
        """Load everything into memory, the training items at the size that is trained at."""
        if hasattr(self, "training"):
            return
        self.casts = self.casts or self._cast()
        sources = [cast.frames.faces.embedding_mean("weighted") for cast in self.casts]
        items = [cast.training(self.recipe, self.config.progress) for cast in self.casts]
        first = items[0]
        self.textures = Textures(*map(torch.from_numpy, (first.textures, first.regions, first.core)))
        self.training = self._training([part.reduced(self.train_size) for part in items], sources)
        self.batches_per_epoch = max(1, math.ceil(self._epoch_frames() / (self.config.batch_size / 2)))
        self.validation = self._validation(items, sources)

    def _training(self, items: Sequence[TrainingItems], sources: Sequence[NDArray[np.float32]]) -> SwapperDataset:
        """Gather what is trained on; items are at the size that is trained at."""
        return SwapperDataset(items, sources, range(len(items)))

    def _epoch_frames(self) -> int:
        """Count the frames after which an epoch ends."""
        return sum(len(cast.frames) for cast in self.casts)

    def _validation(self, items: Sequence[TrainingItems], sources: Sequence[NDArray[np.float32]]) -> SwapperDataset:
        """Gather what is validated, of a few people where there are many."""
        few = self.config.validation_faces
        self._validated = spread(len(self.casts), max(1, few // 4)).tolist()
        each = max(1, few // len(self._validated))
        parts, people, roles, self._names = [], [], [], []
        for number in self._validated:
            cast = self.casts[number]
            for role, part in (
                (SEEN, cast.seen(items[number], each)),
                (HELD_TARGET, cast.held_targets(self.recipe, few, self.config.progress)),
                (HELD_FRAME, cast.held_items(items[number], each)),
            ):
                if part is not None:
                    parts.append(part.items)
                    people.append(number)
                    roles.append(np.full(len(part.items), role))
                    self._names += part.names
        return SwapperDataset(parts, sources, people, roles)

    def _augment(self) -> Any:
        return self.config.augment.build() if self.config.augment else None

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of bytes in the mixture that works; the loader's place is saved and found again."""
        process, processes = self._share()
        if self.config.batch_size % processes:
            raise UserError(
                f"data.batch_size={self.config.batch_size}: is shared by {processes} processes; give a multiple of it, "
                f"such as data.batch_size={processes * max(1, round(self.config.batch_size / processes))}"
            )
        return ResumableLoader(
            self.training,
            self._sampler(torch.initial_seed() % 2**32, process, processes),
            collate_fn=unchanged,
            num_workers=self.config.workers,
            persistent_workers=self.config.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def _sampler(self, seed: int, process: int, processes: int) -> MixedBatchSampler:
        return MixedBatchSampler(
            kinds=self.training.kinds,
            shares=self.config.shares,
            batch_size=self.config.batch_size,
            batches=self.batches_per_epoch,
            seed=seed,
            process=process,
            processes=processes,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Targets trained on, targets held out, held-out frames; at full size."""
        own = torch.Generator()  # or the loader would draw from torch's random state
        return DataLoader(self.validation, batch_size=_VALIDATION_BATCH, collate_fn=unchanged, generator=own)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn bytes into floats on the device, and augment what is trained on."""
        floats = as_floats(batch)
        training = self.trainer is not None and self.trainer.training
        return self.augment(floats, *self._share()) if self.augment is not None and training else floats

    def _share(self) -> tuple[int, int]:
        """Return which process this is and how many share a batch."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    @property
    def gate(self) -> Gate:
        """The quality gate of those who are validated."""
        if self._gate is None:
            people = {number: self.casts[number].frames for number in self._validated}
            self._gate = Gate(self.config.analyzer.build, people, self._names, self.size)
        return self._gate

    def judge(self, shots: Shot) -> dict[str, float]:
        """Hold validated pictures against the quality gate: figures by metric name."""
        # a resumed process looks at the untouched targets again, but their figures stand already
        told = {name for name in self.figures if name.startswith("before")}
        figures = {name: value for name, value in self.gate(shots).items() if name not in told}
        self.figures |= figures
        self.quality = self.gate.quality
        return figures

    def state_dict(self) -> dict[str, Any]:
        """Keep the last figures: a run killed after its last step writes its profile when it is resumed."""
        return {"figures": self.figures}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them back."""
        self.figures = dict(state_dict["figures"])

    def teardown(self, stage: str) -> None:
        """Return the analyzer's native sessions back."""
        if self._gate is not None:
            self._gate.close()
            self._gate = None

    def provenance(self) -> dict[str, Any]:
        """Say whose faces these are, in plain values: what checkpoints and exports carry."""
        return {
            "identity": self.identity,
            "embedder": self.casts[0].frames.faces.embedder,
            "consent": self.config.consent,
            "consent_note": self.config.consent_note or "",
            "face_set": "+".join(cast.frames.faces.key for cast in self.casts),
            "faces": sum(len(cast.frames.faces) for cast in self.casts),
        }

    def profile(self) -> IdentityProfile:
        """Return the identity's profile with the last figures of the quality gate."""
        faces = self.casts[0].frames.faces
        return IdentityProfile.of_faces(
            faces,
            id=self.identity,
            method="weighted",
            gate=self.figures,
            consent=self.config.consent,
            consent_note=self.config.consent_note,
            expires=self.config.expires,
        )

    def require_embedder(self, size: int | None, embedder: str | None) -> None:
        """Make sure that generator and loss speak the analyzer's embeddings.

        Raises:
            UserError: they were set up for another recogniser.
        """
        faces = self.casts[0].frames.faces
        given = int(faces.embeddings.shape[1])
        if size not in (None, given):
            raise UserError(
                f"model.generator.embedding_size={size}: the analyzer's {faces.embedder} gives {given}; "
                f"set model.generator.embedding_size={given}"
            )
        if embedder not in (None, faces.embedder):
            raise UserError(
                f"model.loss.embedder={embedder}: the analyzer's embeddings are of {faces.embedder}; "
                f"set model.loss.embedder={faces.embedder}"
            )

    def _cast(self) -> list[Cast]:
        frames, held_frames = split_frames(self._person(self.config.source, self.identity), self.config.holdout_frames)
        scenes, held_scenes = split_scenes(self._scenes(), self.config.holdout)
        return [Cast(frames, held_frames, [scenes], [held_scenes])]

    def _person(self, source: str | Path | Sequence[str], *place: str) -> FaceSet:
        *folders, name = place
        faces = self._extract(source, name, self.config.face_sets.joinpath(*folders), "one", "data.source")
        if len(faces) < self.config.min_faces:
            raise UserError(
                f"data.source={source}: {len(faces)} usable faces are too few to learn a person from; give more photos "
                f"or a longer video, or go on with data.min_faces={len(faces)} ({faces.path / 'contact_sheet.png'})"
            )
        return faces

    def _scenes(self) -> FaceSet:
        if self.config.targets is None:
            log.info(
                "data.targets: not given, so the bundled portrait stands in; give photos or videos of the scenes you "
                "mean to swap into: a swapper is good at what it has seen"
            )
        targets = self.config.targets or "asset:astronaut.png"
        return self._extract(targets, "scenes", self.config.face_sets / self.identity, "many", "data.targets")

    def _extract(
        self, source: str | Path | Sequence[str], name: str, root: Path, people: Literal["one", "many"], setting: str
    ) -> FaceSet:
        settings = ExtractionSettings.from_config(self.config, people=people, name=name, root=root, setting=setting)
        return extract(source, settings)
