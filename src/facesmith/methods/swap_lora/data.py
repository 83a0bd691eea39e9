"""The data of a LoRA: the base's person, the scene's frames, and a held-out tail of the scene."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import META, FaceSet
from facesmith.faces.geometry.alignment import warp_face
from facesmith.faces.pseudo_labels.training_items import TrainingItems, untouched
from facesmith.methods.swap_lora.base import read_base
from facesmith.methods.swap_lora.comparison import BASE
from facesmith.methods.swap_lora.config import SwapLoraDataModuleConfig
from facesmith.methods.swap_lora.neighbours import NeighbourSampler, next_frames
from facesmith.training.distributed import gather_rows
from facesmith.training.swapping.augment import Augment
from facesmith.training.swapping.data import STOCK_FACES, SwapDataModule
from facesmith.training.swapping.dataset import Batch, MixedBatchSampler, SwapDataset, as_floats
from facesmith.training.swapping.evaluation import ValidationBatch
from facesmith.training.swapping.splits import TEMPLATE, IdentitySplit, split_frames

log = logging.getLogger(__name__)


class SwapLoraDataModule(SwapDataModule):
    """One scene for a base that knows a person.

    The person's frames are those the base learnt from, found by their face set's key, or `source`. The last `holdout`
    of the scene's faces, in the order of time, is never trained on: it is what the base and the adapter are compared
    on. Neighbouring frames meet in a batch.

    Raises:
        UserError: As `SwapDataModule`, and when base and media do not belong together.
    """

    config: SwapLoraDataModuleConfig
    measured_at_first = SwapDataModule.measured_at_first + 1  # the base's swap, too

    def __init__(self, config: SwapLoraDataModuleConfig) -> None:
        self.base = read_base(config.base, config.onnx)
        identity = config.identity or self.base.identity
        if not identity:
            raise UserError("data.identity: required; the base takes any person, so name the person to swap in")
        super().__init__(config, identity=identity, size=self.base.size, train_size=self.base.train_size)

    def split_identities(self) -> list[IdentitySplit]:
        """Hold out the frames that were held out from the base, and the last frames of the scene.

        Returns:
            One split: the person's frames, and the scene as the only one.

        Raises:
            UserError: The person's faces are not found, or the scene has too few faces to hold any out.
        """
        frames, held_frames = split_frames(self._known_person(), self.base.holdout_frames)
        scene, tail = split_frames(self.scene_faces(self.config.target, "data.target"), self.config.holdout)
        if self.config.holdout and not len(tail):
            raise UserError(
                f"data.target={self.config.target}: one face is too few to hold any out; give a longer video"
            )
        self._warn_if_same(frames.faces, scene.faces)
        return [IdentitySplit(frames, held_frames, [scene], [tail])]

    _base_measured = 0  # pictures

    @property
    def scene(self) -> FaceSet:
        """The scene's face set."""
        return self.splits[0].scenes[0].faces

    def photo(self, template: str, size: int) -> Tensor:
        """Return the person's sharpest face, for bases that take a photo.

        Args:
            template: Alignment template of the crop.
            size: Side of the crop in px.

        Returns:
            (1,3,size,size) RGB -1..1.
        """
        faces = self.splits[0].frames.faces
        best = int(np.argmax(faces.sharpness * faces.scores))
        crop = warp_face(faces.crop(best), faces.to_template(best, template, size), size)
        return torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 127.5 - 1

    def require_embedder(self, size: int | None, embedder: str | None) -> None:
        """Make sure that the base's identities were measured by the analyzer's recogniser.

        Args:
            size: Not used.
            embedder: Not used: the base's settings name the recogniser.

        Raises:
            UserError: They were not.
        """
        found = self.splits[0].frames.faces.embedder
        if self.base.embedder not in ("", found):
            raise UserError(
                f"model.base={self.config.base}: was trained with embeddings of {self.base.embedder}, the analyzer's "
                f"are of {found}; choose the analyzer it was trained with"
            )
        super().require_embedder(size, embedder)

    def evaluate_base(self, validated: ValidationBatch) -> dict[str, float]:
        """Evaluate what the base makes of the validated pictures, once: it does not change."""
        known = {name: value for name, value in self.figures.items() if name.startswith(BASE)}
        if not known or len(validated.role) > self._base_measured:
            self._base_measured = len(validated.role)
            known = self.evaluator.after(validated, BASE)
            self.figures |= known
        return known

    def _build_augment(self) -> Augment | None:
        augment: Augment | None = self.config.augment.build(size=self.train_size) if self.config.augment else None
        return augment

    def _known_person(self) -> FaceSet:
        if self.config.source is not None:
            return self.person_faces(self.config.source, self.identity)
        folder = self.config.face_sets / self.identity / self.base.face_set[:12]
        if not (self.base.face_set and (folder / META).is_file()):
            raise UserError(
                f"model.base={self.config.base}: the faces of {self.identity or 'its person'} that it learnt from are "
                f"not in {self.config.face_sets}; set paths.face_sets to where they are, or give data.source=<photos "
                "or video of the person>"
            )
        return FaceSet(folder)

    def _warn_if_same(self, person: FaceSet, scene: FaceSet) -> None:
        if person.embedder != scene.embedder:
            return  # which is refused, by `require_embedder`
        alike = float(np.median(scene.embeddings @ person.embedding_mean("weighted")))
        if alike > self.config.selection.min_similarity:
            log.warning(
                "data.target=%s: shows %s already, the person to be swapped in (similarity %.2f); an adapter learns "
                "nothing from that: give a scene with another person",
                self.config.target,
                self.identity,
                alike,
            )

    def _faces_per_epoch(self) -> int:
        return sum(len(scene) for split in self.splits for scene in split.scenes)

    def _training_set(self, items: Sequence[TrainingItems], sources: Sequence[NDArray[np.float32]]) -> SwapDataset:
        parts = list(items)
        if self.config.shares.get("prior"):
            parts.append(self._prior())
        made = SwapDataset(parts, sources, [0] * len(parts))
        made.tensors["item"] = torch.arange(len(made))
        made.tensors["after"] = torch.from_numpy(self._after(made))
        made.tensors["prior"] = torch.from_numpy(made.kinds == "prior")
        return made

    def _prior(self) -> TrainingItems:
        """Return faces of the scenes that the base learnt, or of anybody: what it makes of them is to stay."""
        faces = self.scene_faces(self.base.scenes or STOCK_FACES, "data.shares.prior")
        return untouched(faces.aligned(TEMPLATE, self.train_size), "prior")

    def _after(self, made: SwapDataset) -> NDArray[np.int64]:
        """Return each item's next frame: of the scene's own frames, and of their mirror images."""
        (scene,) = self.splits[0].scenes
        after = np.full(len(made), -1, np.int64)
        rows = np.flatnonzero(made.kinds == "target")  # the faces, then their mirror images
        next_face = next_frames(scene)
        for mirrored in (rows[: len(scene)], rows[len(scene) :]):
            has = next_face >= 0
            after[mirrored[has]] = mirrored[next_face[has]]
        return after

    def _sampler(self, seed: int, process: int, processes: int) -> MixedBatchSampler:
        return NeighbourSampler(
            self.training.tensors["after"].numpy(),
            kinds=self.training.kinds,
            shares={kind: share for kind, share in self.config.shares.items() if share},
            batch_size=self.config.batch_size,
            batches=self.batches_per_epoch,
            seed=seed,
            process=process,
            processes=processes,
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn bytes into floats, and augment what is trained on, neighbouring frames alike.

        Where several processes share a batch, each gets the whole of it: neighbours may have been dealt to two.
        """
        training = self.trainer is not None and self.trainer.training
        if training:
            batch = gather_rows(batch)
        if "after" in batch:
            rows = torch.arange(len(batch["item"]), device=batch["item"].device)
            rows[1:] = torch.where(batch["after"][:-1] == batch["item"][1:], rows[:-1], rows[1:])
            batch = {**batch, "alike": rows}
        floats = as_floats(batch)
        return self.augment(floats) if self.augment is not None and training else floats
