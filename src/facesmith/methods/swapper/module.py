"""Training a face swapper."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from lightning import LightningModule
from numpy.typing import NDArray
from torch import Tensor

from facesmith.errors import UserError
from facesmith.methods.swapper.advice import advice
from facesmith.methods.swapper.config import SwapperModuleConfig
from facesmith.models.checkpoint import load_module
from facesmith.training.swapping.dataset import Batch
from facesmith.training.swapping.module import SwapModule, draw_columns, first_rows


@runtime_checkable
class TakesPictures(Protocol):
    """A generator that contains pictures of the person, selected by the target's mesh."""

    count: int
    picture_size: int

    def set_pictures(
        self,
        pictures: Tensor,
        landmarks: Tensor,
        usable: Tensor,
        canonical: Tensor,
        normals: Tensor,
        regions: Tensor,
        core: Tensor,
        alpha: Tensor,
    ) -> None:
        """Set the parts of `PersonPictures`, as tensors."""
        ...


class SwapperModule(SwapModule):
    """Trains a generator, from scratch or from another checkpoint's weights.

    Training, validation step and export are `SwapModule`'s.
    """

    config: SwapperModuleConfig

    def __init__(self, config: SwapperModuleConfig) -> None:
        super().__init__(config, config.generator.build(), config.loss.build())

    def setup(self, stage: str) -> None:
        """Take identity and pictures from the data; load the initial weights."""
        if stage != "fit":
            return
        data = self.datamodule
        data.require_embedder(self.generator.embedding_size, getattr(self.loss, "embedder", None))
        self.provenance = data.provenance()
        if self.config.init_from is not None:
            self._start_from(load_module(self.config.init_from))
        if isinstance(self.generator, TakesPictures):
            pictures = data.person_pictures(self.generator.count, self.generator.picture_size)
            self.generator.set_pictures(**{name: torch.from_numpy(part) for name, part in vars(pictures).items()})
        if self.config.compile:
            self.generator.compile()

    def render(self, batch: Batch) -> NDArray[np.uint8]:
        """Return a grid (H,W,3) RGB uint8: target, pseudo truth, raw output, composite, a row a picture."""
        rows = first_rows(batch)
        raw, _, composite = self.swap(rows)
        return draw_columns(
            {"target": rows["target"], "pseudo truth": rows["truth"], "raw output": raw, "composite": composite}
        )

    def suggest_fixes(self, figures: Mapping[str, float]) -> list[str]:
        """Return advice on failed metrics of the quality gate, with the keys to change."""
        faces = self.datamodule.splits[0].frames.faces
        return advice(
            figures,
            steps=self.global_step,
            epochs=self.trainer.current_epoch,
            faces=len(faces),
            size=float(faces.sizes.mean()),
            losses=type(self.config.loss).model_fields,
        )

    def _start_from(self, other: LightningModule) -> None:
        if not isinstance(other, SwapperModule):
            raise UserError(
                f"model.init_from={self.config.init_from}: holds no face swapper; give a swapper's checkpoint"
            )
        try:
            self.generator.load_state_dict(other.generator.state_dict())
        except RuntimeError:
            raise UserError(
                f"model.init_from={self.config.init_from}: holds another generator "
                f"({other.config.generator.target_}); choose the same with model/generator="
            ) from None
