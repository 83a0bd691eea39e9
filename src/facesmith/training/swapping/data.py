"""Faces in, batches out: extraction, pseudo ground truth, loaders, and what the profile and the gate need to know."""

import logging
import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from facesmith.errors import UserError
from facesmith.faces.canonical import PersonPictures, build_person_pictures
from facesmith.faces.face_set.extraction import ExtractionSettings, extract
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.faces.pseudo_labels.training_items import TrainingItems
from facesmith.media.sampling import evenly_spaced
from facesmith.metrics.swap_metrics import SwapMetrics
from facesmith.progress import waiting
from facesmith.training.distributed import require_even_shares
from facesmith.training.loaders import ResumableLoader
from facesmith.training.swapping.augment import Augment
from facesmith.training.swapping.config import SwapDataConfig
from facesmith.training.swapping.dataset import Batch, MixedBatchSampler, SwapDataset, as_floats, collate_batch
from facesmith.training.swapping.evaluation import (
    HELD_OUT_FRAME,
    HELD_OUT_TARGET,
    SEEN,
    ValidationBatch,
    ValidationEvaluator,
)
from facesmith.training.swapping.splits import IdentitySplit, PseudoTruthOptions, ValidationItems

log = logging.getLogger(__name__)

STOCK_FACES: Final = ("asset:astronaut.png", "asset:grace_hopper.jpg")
"""Public-domain portraits that come with the package, where a training needs faces of other people."""
_VALIDATION_BATCH: Final = 8


class SwapDataModule(LightningDataModule):
    """Pairs of pictures from one or several people's faces and scenes, and their quality gate.

    A subclass decides who is trained on and what is held out: `split_identities`.

    Args:
        config: Settings.
        identity: Slug of the person.
        size: Side of the crops in px, at which is validated.
        train_size: Side in px at which is trained.

    Attributes:
        splits: Everybody who is trained on; set by `prepare_data` or `setup`.
        figures: The last figures of the quality gate, by metric name.
        quality: The last metrics, target by target: before, val, val_holdout.

    Raises:
        UserError: Media hold no usable face, or the settings leave nothing to train on (when data are prepared).
    """

    shares_batches = True
    """Processes of a distributed run get parts of the same batches."""
    measured_at_first = 2
    """How often a validated face is measured more often at the first validation: as target, and as what was there."""

    def __init__(self, config: SwapDataConfig, *, identity: str, size: int, train_size: int) -> None:
        super().__init__()
        self.config = config
        self.identity, self.size, self.train_size = identity, size, train_size
        kinds = tuple(sorted(kind for kind, share in config.shares.items() if share))
        self.options = PseudoTruthOptions(size=train_size, kinds=kinds, **config.pseudo_truth.model_dump())
        self.augment = self._build_augment()
        self.splits: list[IdentitySplit] = []
        self.figures: dict[str, float] = {}
        self.quality: dict[str, SwapMetrics] = {}
        self._evaluator: ValidationEvaluator | None = None
        self._logged: frozenset[str] = frozenset()  # before a resumed process began

    @abstractmethod
    def split_identities(self) -> list[IdentitySplit]:
        """Extract the faces, or reuse extracted ones, and split them into training and held-out."""

    def prepare_data(self) -> None:
        """Extract the faces and build the pseudo ground truth that is needed, or reuse existing ones."""
        self.splits = self.split_identities()
        if self._trains():
            for split in self.splits:
                split.training_items(self.options, self.config.progress)
        self._validation_items()

    def setup(self, stage: str) -> None:
        """Load everything into memory: training items at the size that is trained at, validation items at full size."""
        if hasattr(self, "validation"):
            return
        self.splits = self.splits or self.split_identities()
        sources = [split.frames.faces.embedding_mean("weighted") for split in self.splits]
        if self._trains():
            items = [split.training_items(self.options, self.config.progress) for split in self.splits]
            self.training = self._training_set(items, sources)
        self.batches_per_epoch = max(1, math.ceil(self._faces_per_epoch() / (self.config.batch_size / 2)))
        with waiting("loading the faces that are validated on", shown=self.config.progress):
            self.validation = self._validation_set(sources)

    def person_pictures(self, count: int, size: int) -> PersonPictures:
        """Choose pictures of the person in canonical coordinates from the frames that are trained on.

        Args:
            count: How many, mirror images among them.
            size: Their side in px.
        """
        return build_person_pictures(self.splits[0].frames.aligned(size), count)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return batches of bytes in the mixture of `shares`; the loader's place is saved and found again."""
        process, processes = self._process()
        require_even_shares(self.config.batch_size, processes)
        return ResumableLoader(
            self.training,
            self._sampler(torch.initial_seed() % 2**32, process, processes),
            collate_fn=collate_batch,
            num_workers=self.config.workers,
            persistent_workers=self.config.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return targets trained on, targets held out and held-out frames, at full size."""
        own = torch.Generator()  # or the loader would draw from torch's random state
        return DataLoader(self.validation, batch_size=_VALIDATION_BATCH, collate_fn=collate_batch, generator=own)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Convert bytes to floats on the device, and augment what is trained on."""
        floats = as_floats(batch)
        training = self.trainer is not None and self.trainer.training
        return self.augment(floats, *self._process()) if self.augment is not None and training else floats

    @property
    def evaluator(self) -> ValidationEvaluator:
        """The quality gate of those who are validated."""
        if self._evaluator is None:
            with waiting("loading what measures the swaps", shown=self.config.progress):
                self._evaluator = self._build_evaluator()
        return self._evaluator

    def _build_evaluator(self) -> ValidationEvaluator:
        people = {number: self.splits[number].frames for number in self._validated}
        return ValidationEvaluator(self.config.analyzer.build, people, self._names, self.size)

    def time_evaluation(self) -> tuple[float, float]:
        """Measure one picture, and return the seconds of each validation, and how many more the first takes.

        The first one also measures the targets as they were.
        """
        batch = as_floats(next(iter(self.val_dataloader())))
        target = batch["target"]
        one = ValidationBatch.of(batch, target, torch.zeros_like(batch["hull"]), target)
        each = self.evaluator.time_picture(one) * self._measured
        return each, each * self.measured_at_first

    def evaluate(self, validated: ValidationBatch) -> dict[str, float]:
        """Evaluate validated pictures: figures by metric name, which are kept."""
        # a resumed process measures the untouched targets again, but their metrics are logged already
        figures = {name: value for name, value in self.evaluator(validated).items() if name not in self._logged}
        self.figures |= figures
        self.quality = self.evaluator.quality
        return figures

    @property
    def face_sets(self) -> list[FaceSet]:
        """The face sets of those who are trained on."""
        return [split.frames.faces for split in self.splits]

    def provenance(self) -> dict[str, Any]:
        """Return identity, consent and face set, in plain values, for checkpoints and exports."""
        return {
            "identity": self.identity,
            "embedder": self.splits[0].frames.faces.embedder,
            "consent": self.config.consent,
            "consent_note": self.config.consent_note or "",
            "expires": self.config.expires or "",
            "face_set": "+".join(split.frames.faces.key for split in self.splits),
            "faces": sum(len(split.frames.faces) for split in self.splits),
        }

    def profile(self) -> IdentityProfile:
        """Return the identity's profile with the last figures of the quality gate."""
        return IdentityProfile.from_face_set(
            self.splits[0].frames.faces, id=self.identity, method="weighted", gate=self.figures
        )

    def require_embedder(self, size: int | None, embedder: str | None) -> None:
        """Make sure that generator and loss take the analyzer's embeddings.

        Args:
            size: Numbers in an embedding that the generator takes; None where it takes none.
            embedder: Name of the recogniser that the loss compares by; None where it has none.

        Raises:
            UserError: They were set up for another recogniser.
        """
        faces = self.splits[0].frames.faces
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

    def state_dict(self) -> dict[str, Any]:
        """Return the last figures: a run killed after its last step writes its profile when it is resumed."""
        return {"figures": self.figures}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the metrics."""
        self.figures = dict(state_dict["figures"])
        self._logged = frozenset(name for name in self.figures if name.startswith("before"))

    def teardown(self, stage: str) -> None:
        """Close the analyzer's native sessions."""
        if self._evaluator is not None:
            self._evaluator.close()
            self._evaluator = None

    def person_faces(self, source: str | Path | Sequence[str], *place: str) -> FaceSet:
        """Extract the faces of one person.

        Args:
            source: Photos and videos.
            place: Where the face set lies below `face_sets`: folders, then its name.

        Raises:
            UserError: They are fewer than `min_faces`.
        """
        *folders, name = place
        faces = self.extract_faces(source, name, self.config.face_sets.joinpath(*folders), "one", "data.source")
        if len(faces) < self.config.min_faces:
            raise UserError(
                f"data.source={source}: {len(faces)} usable faces are too few to train on; give more photos "
                f"or a longer video, or continue with data.min_faces={len(faces)} ({faces.path / 'contact_sheet.png'})"
            )
        return faces

    def scene_faces(self, source: str | Path | Sequence[str], setting: str) -> FaceSet:
        """Extract the faces of everybody in scenes.

        Args:
            source: Photos and videos.
            setting: Configuration key of the source, for error messages.
        """
        name = "portraits" if source is STOCK_FACES else "scenes"
        return self.extract_faces(source, name, self.config.face_sets / self.identity, "many", setting)

    def extract_faces(
        self,
        source: str | Path | Sequence[str],
        name: str,
        root: Path,
        people: Literal["one", "many"],
        setting: str,
    ) -> FaceSet:
        """Extract faces by the settings, or reuse an extracted face set; see `extract`.

        Args:
            source: Photos and videos.
            name: Slug of the face set.
            root: Folder of face sets.
            people: `one` keeps the main person's faces only, `many` all faces.
            setting: Configuration key of the source, for error messages.
        """
        settings = ExtractionSettings.from_config(self.config, people=people, name=name, root=root, setting=setting)
        return extract(source, settings)

    def _build_augment(self) -> Augment | None:
        augment: Augment | None = self.config.augment.build() if self.config.augment else None
        return augment

    def _training_set(self, items: Sequence[TrainingItems], sources: Sequence[NDArray[np.float32]]) -> SwapDataset:
        """Gather what is trained on; items are at the size that is trained at."""
        return SwapDataset(items, sources, range(len(items)))

    def _faces_per_epoch(self) -> int:
        """Count the faces after which an epoch ends."""
        return sum(len(split.frames) for split in self.splits)

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

    def _trains(self) -> bool:
        """Return whether a step is going to be taken."""
        return self.trainer is None or self.trainer.limit_train_batches != 0

    def _validation_items(self) -> list[tuple[int, int, ValidationItems]]:
        """Load or build the validation items, of a few people if there are many: person, role and items."""
        few, size, progress = self.config.validation_faces, self.size, self.config.progress
        self._validated = evenly_spaced(len(self.splits), max(1, few // 4), ends=True)
        each = max(1, few // len(self._validated))
        found = []
        for number in self._validated:
            split = self.splits[number]
            for role, part in (
                (SEEN, split.seen_targets(size, each, progress)),
                (HELD_OUT_TARGET, split.held_out_targets(size, few, progress)),
                (HELD_OUT_FRAME, split.held_out_selves(size, each)),
            ):
                if part is not None:
                    found.append((number, role, part))
        return found

    def _validation_set(self, sources: Sequence[NDArray[np.float32]]) -> SwapDataset:
        parts = self._validation_items()
        self._names = [name for _, _, part in parts for name in part.names]
        self._measured = sum(len(part.items) for _, role, part in parts if role != HELD_OUT_FRAME)
        return SwapDataset(
            [part.items for _, _, part in parts],
            sources,
            [number for number, _, _ in parts],
            [np.full(len(part.items), role) for _, role, part in parts],
        )

    def _process(self) -> tuple[int, int]:
        """Return which process this is and how many share a batch."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
