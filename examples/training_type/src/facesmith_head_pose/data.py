"""The data: crops of a face set, and the angles that its landmarks say."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from facesmith.errors import UserError
from facesmith.faces.face_set.extraction import ExtractionSettings, extract
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.training.loaders import ResumableLoader
from facesmith_head_pose.config import HeadPoseDataModuleConfig

Batch = dict[str, Tensor]


class CropsWithPose(Dataset[Batch]):
    """Aligned crops and their angles, held in memory.

    Args:
        faces: The face set.
        rows: Numbers of the faces that belong to this part.
        size: Width and height of the crops, in px.
    """

    def __init__(self, faces: FaceSet, rows: np.ndarray, size: int) -> None:
        # an alignment takes roll away, so pitch and yaw are what a crop shows
        self._crops = torch.from_numpy(faces.aligned(size=size).images[rows]).permute(0, 3, 1, 2)
        self._angles = torch.from_numpy(np.asarray(faces.pose[rows, :2], np.float32))

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, row: int) -> Batch:
        """Return `crop` (3,S,S) 0..1 and `angles` (2,): pitch and yaw in degrees."""
        return {"crop": self._crops[row].float() / 255, "angles": self._angles[row]}


class EpochBatches(Sampler[list[int]]):
    """Batches in an order that is a function of the epoch's number: a resumed run sees what a whole one sees."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self._epoch = self._first = 0

    def start_epoch(self, epoch: int, first_batch: int) -> None:
        """Make the next iteration that of an epoch, from a batch of it on; both are counted from 0."""
        self._epoch, self._first = epoch, first_batch

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng([self.seed, self._epoch]).permutation(self.count)
        for batch in range(self._first, len(self)):
            yield order[batch * self.batch_size : (batch + 1) * self.batch_size].tolist()


class HeadPoseDataModule(LightningDataModule):
    """Faces of photos and videos with their pitch and yaw; the last share of them is held out.

    Args:
        config: The settings.
    """

    def __init__(self, config: HeadPoseDataModuleConfig) -> None:
        super().__init__()
        self.config = config
        self._faces: FaceSet | None = None

    @property
    def faces(self) -> FaceSet:
        """The face set; it is extracted on first use, or opened where it is there already."""
        if self._faces is None:
            self._faces = extract(self.config.source, ExtractionSettings.from_config(self.config, people="many"))
        return self._faces

    def prepare_data(self) -> None:
        """Extract the faces."""
        assert self.faces

    def setup(self, stage: str) -> None:
        """Split the faces and read their crops."""
        count, config = len(self.faces), self.config
        held = max(1, round(config.holdout * count))
        if count - held < config.batch_size:
            raise UserError(f"data.source={config.source}: {count} faces are too few; give more, or lower batch_size")
        rows = np.arange(count)
        self.training = CropsWithPose(self.faces, rows[:-held], config.size)
        self.validation = CropsWithPose(self.faces, rows[-held:], config.size)

    @property
    def batches_per_epoch(self) -> int:
        """Number of training batches in an epoch."""
        return -(-len(self.training) // self.config.batch_size)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return training batches; checkpoints keep the loader's position."""
        order = EpochBatches(len(self.training), self.config.batch_size, torch.initial_seed() % 2**32)
        return ResumableLoader(self.training, order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the held-out faces."""
        return DataLoader(self.validation, self.config.batch_size, generator=torch.Generator())

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Change the brightness of training crops."""
        if self.trainer is None or not self.trainer.training:
            return batch
        crops, most = batch["crop"], self.config.brightness
        factors = 1 + (torch.rand(len(crops), 1, 1, 1, device=crops.device) * 2 - 1) * most
        return {**batch, "crop": (crops * factors).clamp(0, 1)}

    def provenance(self) -> dict[str, Any]:
        """Return whose faces these are: what checkpoints carry."""
        return {
            "identity": self.config.name,
            "embedder": self.faces.embedder,
            "consent": self.config.consent,
            "consent_note": self.config.consent_note or "",
            "face_set": self.faces.key,
            "faces": len(self.faces),
        }
