"""The order in which faces come, each time with another occlusion."""

import logging
from collections.abc import Iterator
from typing import Any, Final, Literal

import numpy as np
import pyarrow.compute as pc
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from facesmith.errors import UserError
from facesmith.faces.face_set.extraction import ExtractionSettings, extract
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.methods.occluder.config import OccluderDataModuleConfig
from facesmith.methods.occluder.dataset import NAMES, CheckedFaces, OccludedFaces, Stretch, as_floats
from facesmith.methods.occluder.families.layer import PhotoSurfaces
from facesmith.methods.occluder.grid import family_sheet
from facesmith.methods.occluder.labels import labelled
from facesmith.methods.occluder.occlusion import FAMILIES, NONE, Occlude
from facesmith.training.loaders import ResumableLoader

Draw = tuple[int, int]


class DrawBatches(Sampler[list[Draw]]):
    """Visit `count` faces `repeats` times an epoch, in random order: batches of pairs (row, number of the draw).

    An epoch is a function of `seed` and its number alone; what is laid over a face is a function of the draw's number,
    so that a resumed run sees what an uninterrupted one would. The last batch is as full as the others: rows of the
    epoch's beginning fill it up.
    """

    def __init__(self, count: int, repeats: int, batch_size: int, seed: int) -> None:
        self.count, self.repeats, self.batch_size, self.seed = count, repeats, batch_size, seed
        self._epoch, self._first = 0, 0

    def begin(self, epoch: int, batch: int) -> None:
        """Make the next iteration that of `epoch`, from its batch number `batch` on."""
        self._epoch, self._first = epoch, batch

    def __len__(self) -> int:
        return -(-self.count * self.repeats // self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        random = np.random.default_rng([self.seed, self._epoch])
        rows = np.concatenate([random.permutation(self.count) for _ in range(self.repeats)])
        rows = np.resize(rows, len(self) * self.batch_size)
        for batch in range(self._first, len(self)):
            places = range(batch * self.batch_size, (batch + 1) * self.batch_size)
            yield [(int(rows[place]), self._epoch * len(rows) + place) for place in places]


log = logging.getLogger(__name__)


def extracted(data: OccluderDataModuleConfig) -> FaceSet:
    """Extract the faces, or find them extracted already.

    Raises:
        UserError: the media cannot be read or hold no usable face.
    """
    return extract(data.source, ExtractionSettings.from_config(data, people=data.people))


def leave_out_faceless(faces: FaceSet, without_face: Literal["skip", "error"], key: str) -> None:
    """Tell of pictures in which no face was found: they have no landmarks, and a mask is not made up for them.

    Raises:
        UserError: there is one, and `without_face`, which is called `key`, is `error`.
    """
    lost = faces.table.filter(pc.field("face") < 0).select(["source", "frame"]).to_pylist()
    pictures = faces.meta["pictures"]
    if lost and without_face == "error":
        raise UserError(
            f"{lost[0]['source']}: no face in frame {lost[0]['frame']} ({len(lost)} such pictures of {pictures}); "
            f"take them out, or leave them out with {key}=skip"
        )
    if lost:
        log.warning("%d of %d pictures are left out: no face in them", len(lost), pictures)


Batch = dict[str, Tensor]

TEMPLATE: Final = "arcface_128"
# What is trained on is drawn with a margin and cut after it was turned and scaled. With this much of it, faces are as
# large on this template as on the one they are validated on, and no sharper or softer.
_WIDE: Final = "ffhq_512"
_MARGIN: Final = 1.125
_CHECK_SEED: Final = 20_000
_EXAMPLES: Final = 6  # a family, in the preview


class OccluderDataModule(LightningDataModule):
    """Faces with their masks, covered on the fly with things whose outline is known.

    The last share of the faces is held out; families whose weight is 0 are never trained on. Raises UserError when
    media hold no usable face, leave too few for holding some out, or have a picture without one where that is an error.
    """

    def __init__(self, config: OccluderDataModuleConfig) -> None:
        super().__init__()
        self.config = config
        self.augment = config.augment.build() if config.augment else None
        self._faces: FaceSet | None = None

    def prepare_data(self) -> None:
        """Extract the faces, or find them extracted already."""
        self._faces = extracted(self.config)
        leave_out_faceless(self._faces, self.config.without_face, "data.without_face")

    def setup(self, stage: str) -> None:
        """Draw the masks and everything that is validated on."""
        if hasattr(self, "training"):
            return
        config = self.config
        faces = self.faces
        held = max(1, round(config.holdout * len(faces)))
        if len(faces) - held < 1:
            raise UserError(f"data.source={config.source}: {len(faces)} usable face is too few; give at least two")
        rows = np.arange(len(faces))
        first, last = rows[:-held], rows[-held:]
        seed = torch.initial_seed() % 2**32
        weights: dict[str, float] = {str(name): weight for name, weight in config.occlusions.families.items()}
        self.training = OccludedFaces(
            labelled(faces, first, _WIDE, 2 * round(config.size * _MARGIN / 2), config.forehead, config.masks),
            self._occlude(weights, PhotoSurfaces(), clear=config.occlusions.clear),
            seed,
        )
        checked = labelled(faces, last, TEMPLATE, config.size, config.forehead, config.masks)
        unseen_surfaces = PhotoSurfaces(held_out=True)
        each = {NONE: self._occlude({"shape": 1}, unseen_surfaces, clear=1)}
        each |= {name: self._occlude({name: 1}, unseen_surfaces, clear=0) for name in FAMILIES}
        self.validation = CheckedFaces(checked, each, config.validation_each, _CHECK_SEED)
        self.stretch = Stretch(checked, faces.tracks[last])
        self.unseen = [name for name in FAMILIES if not weights.get(name)]

    @property
    def faces(self) -> FaceSet:
        """The face set."""
        if self._faces is None:
            self.prepare_data()
        assert self._faces is not None
        return self._faces

    @property
    def batches_per_epoch(self) -> int:
        """How many batches an epoch has."""
        return -(-len(self.training) * self.config.repeats // self.config.batch_size)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Covered faces; the loader's place is saved and found again."""
        config = self.config
        sampler = DrawBatches(len(self.training), config.repeats, config.batch_size, torch.initial_seed() % 2**32)
        return ResumableLoader(
            self.training,
            sampler,  # type: ignore[arg-type]  # draws, not indices
            num_workers=config.workers,
            persistent_workers=config.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """Covered held-out faces, one of each family in a batch; then the held-out stretch of the video as it is."""
        own = torch.Generator()  # or the loaders would draw from torch's random state
        return [
            DataLoader(self.validation, batch_size=len(NAMES), generator=own),
            DataLoader(self.stretch, batch_size=len(NAMES), generator=own),
        ]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn bytes into floats on the device, augment what is trained on, and cut its margin."""
        floats = as_floats(batch)
        if self.trainer is None or not self.trainer.training:
            return floats
        picture, mask = floats["picture"], floats["mask"]
        if self.augment is not None:
            picture, mask = self.augment(picture, mask)
        first, size = (picture.shape[-1] - self.config.size) // 2, self.config.size
        inner = slice(first, first + size)
        return {**floats, "picture": picture[..., inner, inner], "mask": mask[..., inner, inner]}

    def provenance(self) -> dict[str, Any]:
        """Say whose faces these are, in plain values: what checkpoints and exports carry."""
        return {
            "identity": self.config.name,
            "embedder": self.faces.embedder,
            "consent": self.config.consent,
            "consent_note": self.config.consent_note or "",
            "face_set": self.faces.key,
            "faces": len(self.faces),
            "size": self.config.size,
        }

    def preview(self) -> NDArray[np.uint8]:
        """Return a sheet (H,W,3) RGB uint8: a row a family, each example beside its mask; drawn the same every time."""
        labelled, surfaces = self.training.labelled, PhotoSurfaces()
        rows = np.linspace(0, len(labelled) - 1, _EXAMPLES).round().astype(int)
        sheet: dict[str, list[tuple[NDArray[np.uint8], NDArray[np.float32]]]] = {}
        for number, name in enumerate(FAMILIES):
            cover = self._occlude({name: 1.0}, surfaces, clear=0)
            for row in rows:
                rng = np.random.default_rng([_CHECK_SEED, number, int(row)])
                done = cover(labelled.faces.images[row], labelled.faces.landmarks[row], rng)
                mask = np.asarray(labelled.masks[row] / 255 * done.visible, np.float32)
                sheet.setdefault(name, []).append((done.picture, mask))
        return family_sheet(sheet)

    def _occlude(self, weights: dict[str, float], surfaces: PhotoSurfaces, clear: float) -> Occlude:
        how = self.config.occlusions
        several = how.several if len(weights) > 1 else 0.0
        return Occlude(weights, surfaces, clear=clear, several=several, motion=how.motion, soft=how.soft)
