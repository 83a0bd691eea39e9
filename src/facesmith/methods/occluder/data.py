"""The occluder's data: faces from a face set, their masks, and objects drawn over them during training."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow.compute as pc
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from facesmith import assets
from facesmith.errors import UserError
from facesmith.faces.face_set.extraction import ExtractionSettings, extract
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.media.visualization import image_grid, overlay_mask
from facesmith.methods.occluder.canonical_face import average_face
from facesmith.methods.occluder.config import OccluderDataModuleConfig
from facesmith.methods.occluder.dataset import (
    FAMILY_NAMES,
    ConsecutiveFaces,
    OccludedFaces,
    ValidationFaces,
    bytes_to_floats,
)
from facesmith.methods.occluder.families import FAMILIES
from facesmith.methods.occluder.families.textures import RandomTextures
from facesmith.methods.occluder.labels import label_faces
from facesmith.methods.occluder.occlusion import UNOCCLUDED, RandomOcclusion
from facesmith.methods.occluder.variations import FaceVariations
from facesmith.training.distributed import gather_rows, own_rows, require_even_shares
from facesmith.training.loaders import ResumableLoader

log = logging.getLogger(__name__)

Draw = tuple[int, int]
Batch = dict[str, Tensor]

TEMPLATE: Final = "arcface_128"
# Training pictures are drawn with a margin and cropped after augmentation. With this much of it, faces are as large on
# this template as on the one they are validated on, and no sharper or softer.
_TRAINING_TEMPLATE: Final = "ffhq_512"
_MARGIN: Final = 1.125
_VALIDATION_SEED: Final = 20_000
_AVERAGED: Final = 60  # faces, for the canonical one
_EXAMPLES: Final = 6  # of each family, in the preview


class OccluderDataModule(LightningDataModule):
    """Faces with their masks, covered on the fly with synthetic objects.

    The last share of the faces is held out for validation; families of weight 0 are never trained on.

    Args:
        config: The settings.

    Raises:
        UserError: From `prepare_data` or `setup`: no usable face is found, there are too few to hold some out, or a
            picture has none where that is an error.
    """

    shares_batches = True
    """Processes of a distributed run get parts of the same batches."""

    def __init__(self, config: OccluderDataModuleConfig) -> None:
        super().__init__()
        self.config = config
        self.augment = config.augment.build() if config.augment else None
        self._faces: FaceSet | None = None

    def prepare_data(self) -> None:
        """Extract the faces, or open their existing face set."""
        self._faces = extract_faces(self.config)
        report_pictures_without_face(self._faces, self.config.without_face, "data.without_face")

    def setup(self, stage: str) -> None:
        """Make the masks, and draw everything that is validated on."""
        if hasattr(self, "training"):
            return
        config = self.config
        faces = self.faces
        held = max(1, round(config.holdout * len(faces)))
        if len(faces) - held < 1:
            raise UserError(f"data.source={config.source}: {len(faces)} usable face is too few; give at least two")
        rows = np.arange(len(faces))
        training_rows, validation_rows = rows[:-held], rows[-held:]
        seed = torch.initial_seed() % 2**32
        weights: dict[str, float] = {str(name): weight for name, weight in config.occlusions.families.items()}
        masks = None if config.masks is None else Path(assets.resolve(str(config.masks)))
        side = 2 * round(config.size * _MARGIN / 2)
        labelled = label_faces(faces, training_rows, _TRAINING_TEMPLATE, side, config.forehead, masks)
        if config.variations is not None:
            people = np.array([_person(faces.crop_name(int(row))) for row in training_rows])
            makes = FaceVariations(labelled, people, config.variations.exchange)
            labelled = makes.make(config.variations.count, _VALIDATION_SEED)
        self.training = OccludedFaces(
            labelled,
            self._occlusion(weights, RandomTextures(), unoccluded=config.occlusions.unoccluded),
            seed,
        )
        held_out = label_faces(faces, validation_rows, TEMPLATE, config.size, config.forehead, masks)
        held_out_textures = RandomTextures(held_out=True)
        occlusions = {UNOCCLUDED: self._occlusion({"shape": 1}, held_out_textures, unoccluded=1)}
        occlusions |= {name: self._occlusion({name: 1}, held_out_textures, unoccluded=0) for name in FAMILIES}
        self.validation = ValidationFaces(held_out, occlusions, config.validation_faces, _VALIDATION_SEED)
        self.consecutive = ConsecutiveFaces(held_out, faces.tracks[validation_rows])
        self.unseen = [name for name in FAMILIES if not weights.get(name)]

    @property
    def face_sets(self) -> list[FaceSet]:
        """The face set that is trained on."""
        return [self.faces]

    @property
    def faces(self) -> FaceSet:
        """The face set; it is extracted on first use."""
        if self._faces is None:
            self.prepare_data()
        assert self._faces is not None
        return self._faces

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in an epoch, over all devices."""
        return -(-len(self.training) * self.config.repeats // self.config.batch_size)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return batches of covered faces; checkpoints keep the loader's position."""
        config = self.config
        process, processes = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        require_even_shares(config.batch_size, processes)
        seed = torch.initial_seed() % 2**32
        sampler = DrawBatches(len(self.training), config.repeats, config.batch_size, seed, process, processes)
        return ResumableLoader(
            self.training,
            sampler,
            num_workers=config.workers,
            persistent_workers=config.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """Return two loaders: held-out faces under every family, and the same faces untouched, in order of time."""
        own = torch.Generator()  # or the loaders would draw from torch's random state
        return [
            DataLoader(self.validation, batch_size=len(FAMILY_NAMES), generator=own),
            DataLoader(self.consecutive, batch_size=len(FAMILY_NAMES), generator=own),
        ]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Convert bytes to floats on the device; augment training batches and crop their margin.

        Where several processes share a batch, each augments the whole of it, with the same random numbers, and keeps
        its own part.
        """
        if self.trainer is None or not self.trainer.training:
            return bytes_to_floats(batch)
        floats = bytes_to_floats(gather_rows(batch))
        picture, mask, points = floats["picture"], floats["mask"], floats["points"]
        if self.augment is not None:
            picture, mask, points = self.augment(picture, mask, points)
        first, size = (picture.shape[-1] - self.config.size) // 2, self.config.size
        inner = slice(first, first + size)
        points = points - points.new_tensor([first, first, 0])
        cropped = {"picture": picture[..., inner, inner], "mask": mask[..., inner, inner], "points": points}
        return own_rows({**floats, **cropped})

    def provenance(self) -> dict[str, Any]:
        """Return identity, consent and face set, in plain values, for checkpoints and exports."""
        return {
            "identity": self.config.name,
            "embedder": self.faces.embedder,
            "consent": self.config.consent,
            "consent_note": self.config.consent_note or "",
            "expires": self.config.expires or "",
            "face_set": self.faces.key,
            "faces": len(self.faces),
            "size": self.config.size,
        }

    def canonical_face(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean face of some training faces, see `average_face`."""
        faces = self.training.labelled.faces
        rows = np.unique(np.linspace(0, len(faces) - 1, _AVERAGED).round().astype(int))
        return average_face(faces[rows])

    def preview(self) -> NDArray[np.uint8]:
        """Draw examples of every family, a row each, beside their masks: (H,W,3) RGB uint8, the same every time."""
        labelled, textures = self.training.labelled, RandomTextures()
        rows = np.linspace(0, len(labelled) - 1, _EXAMPLES).round().astype(int)
        sheet = []
        for number, name in enumerate(FAMILIES):
            occlusion = self._occlusion({name: 1.0}, textures, unoccluded=0)
            pictures = []
            for row in rows:
                rng = np.random.default_rng([_VALIDATION_SEED, number, int(row)])
                occluded = occlusion(labelled.faces.images[row], labelled.faces.landmarks[row], rng)
                mask = labelled.masks[row] / 255 * occluded.visible
                pictures += [occluded.picture[None], overlay_mask(occluded.picture, mask)[None]]
            sheet.append(image_grid(pictures, [name]))
        return np.concatenate(sheet)

    def _occlusion(self, weights: dict[str, float], textures: RandomTextures, unoccluded: float) -> RandomOcclusion:
        settings = self.config.occlusions
        second = settings.second_occluder if len(weights) > 1 else 0.0
        return RandomOcclusion(
            weights,
            textures,
            unoccluded=unoccluded,
            second_occluder=second,
            motion_blur=settings.motion_blur,
            defocus=settings.defocus,
        )


class DrawBatches(Sampler[list[Draw]]):
    """Batches of keys of `OccludedFaces`: pairs (row, number of the draw), in random order.

    An epoch is a function of `seed` and its number alone, and what covers a face is a function of the draw's number:
    a resumed run sees what an uninterrupted one would. The last batch is filled up with rows of the epoch's beginning.

    Args:
        count: Number of faces.
        repeats: How often each comes in an epoch.
        batch_size: Of each batch.
        seed: Of the order.
        process: Number of this process.
        processes: How many share each batch; each gets every `processes`-th key of it.
    """

    def __init__(
        self, count: int, repeats: int, batch_size: int, seed: int, process: int = 0, processes: int = 1
    ) -> None:
        self._process, self._processes = process, processes
        self.count, self.repeats, self.batch_size, self.seed = count, repeats, batch_size, seed
        self._epoch, self._first = 0, 0

    def start_epoch(self, epoch: int, first_batch: int) -> None:
        """Set the epoch and the first batch of the next iteration.

        Args:
            epoch: Number of the epoch, from 0.
            first_batch: Number of its first batch, from 0.
        """
        self._epoch, self._first = epoch, first_batch

    def __len__(self) -> int:
        return -(-self.count * self.repeats // self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        random = np.random.default_rng([self.seed, self._epoch])
        rows = np.concatenate([random.permutation(self.count) for _ in range(self.repeats)])
        rows = np.resize(rows, len(self) * self.batch_size)
        for batch in range(self._first, len(self)):
            places = range(batch * self.batch_size + self._process, (batch + 1) * self.batch_size, self._processes)
            yield [(int(rows[place]), self._epoch * len(rows) + place) for place in places]


def _person(crop: str) -> str:
    """Return who is probably on a crop: the same file and the same place among its faces."""
    source, _, face = crop.partition(".")[0].split("_")
    return f"{source} {face}"


def extract_faces(data: OccluderDataModuleConfig) -> FaceSet:
    """Extract the faces of the sources, or open their existing face set.

    Raises:
        UserError: The media cannot be read or hold no usable face.
    """
    return extract(data.source, ExtractionSettings.from_config(data, people=data.people))


def report_pictures_without_face(faces: FaceSet, without_face: Literal["skip", "error"], key: str) -> None:
    """Warn of pictures without a face: they have no landmarks, and so no mask.

    Args:
        faces: The face set.
        without_face: Whether to warn or to raise.
        key: Name of that setting, for the message.

    Raises:
        UserError: There is one, and `without_face` is `error`.
    """
    faceless = faces.table.filter(pc.field("face") < 0).select(["source", "frame"]).to_pylist()
    pictures = faces.meta["pictures"]
    if faceless and without_face == "error":
        raise UserError(
            f"{faceless[0]['source']}: no face in frame {faceless[0]['frame']} ({len(faceless)} such pictures of "
            f"{pictures}); remove them, or skip them with {key}=skip"
        )
    if faceless:
        log.warning("Skipped %d of %d pictures: no face found", len(faceless), pictures)
