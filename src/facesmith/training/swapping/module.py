"""The training loop that every swapper shares: swap, compare, log; validate against the quality gate; export."""

import copy
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any, Final

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW

from facesmith.errors import UserError
from facesmith.media.visualization import image_grid
from facesmith.models.checkpoint import RECORD, check_face_set, checkpoint_record
from facesmith.models.onnx.export_spec import ExportSpec
from facesmith.models.onnx.info import MASK, OUTPUT, SOURCE, TARGET, SwapperInfo
from facesmith.models.onnx.landmark_input import landmark_example
from facesmith.models.swapper.generator import ExportWrapper, SwapGenerator, SwapOutput
from facesmith.training.callbacks.protocols import get_datamodule
from facesmith.training.distributed import measure_once
from facesmith.training.run.checkpoint_files import FINAL_CHECKPOINTS, first_made
from facesmith.training.schedule import count_optimizer_steps, with_warmup_cosine
from facesmith.training.swapping.config import SwapModuleConfig
from facesmith.training.swapping.data import SwapDataModule
from facesmith.training.swapping.dataset import Batch, as_bytes
from facesmith.training.swapping.evaluation import ValidationBatch

RENDERED_ROWS: Final = 12
"""Maximum number of rows of a rendered grid."""
_PARTS_EVERY: Final = 10  # batches between two logs of a loss's parts: at every step they would cost a tenth of it


class SwapModule(LightningModule):
    """Trains a generator to swap a person into targets. A subclass builds generator and loss, and sets them up.

    Args:
        config: Settings.
        generator: Takes targets (N,3,S,S) RGB -1..1 and embeddings (N,E).
        loss: Called with the generator's output, the batch and the progress 0..1; returns "loss" and its parts.

    Attributes:
        provenance: Identity, consent and face set, in plain values; empty before training.
        loss_parts: The parts of the last step's loss, detached, by metric name.
    """

    def __init__(self, config: SwapModuleConfig, generator: SwapGenerator, loss: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.generator = generator
        self.loss = loss
        self.provenance: dict[str, Any] = {}
        self.loss_parts: Mapping[str, Tensor] = {}
        self._validated: list[ValidationBatch] = []
        self._assumed_progress: float | None = None

    @property
    def datamodule(self) -> SwapDataModule:
        """The trainer's data module; never stored, or copies of the module would copy it."""
        data = get_datamodule(self.trainer)
        assert isinstance(data, SwapDataModule)
        return data

    @abstractmethod
    def setup(self, stage: str) -> None:
        """Take the identity from the data."""

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW on generator and loss (a discriminator, if any), with a cosine after a warm-up, per step."""
        settings = self.config.optimizer
        optimizer = AdamW(
            [parameter for parameter in self.parameters() if parameter.requires_grad],
            settings.lr,
            betas=(settings.betas[0], settings.betas[1]),
            weight_decay=settings.weight_decay,
            # gradients scaled for float16 are clipped by Lightning, which a fused step does not allow
            fused=not str(self.trainer.precision).startswith("16"),
        )
        self._steps = count_optimizer_steps(self.trainer, self.datamodule.batches_per_epoch)
        return with_warmup_cosine(optimizer, self._steps, settings)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Swap, compute and log the loss."""
        output = self.generate(batch)
        with torch.autocast(self.device.type, enabled=False):
            face, mask, aux = output
            output = SwapOutput(face.float(), mask.float(), {name: value.float() for name, value in aux.items()})
            losses: dict[str, Tensor] = self.loss(output, batch, self._progress())
        loss = losses.pop("loss")
        self.loss_parts = {f"train/loss_{name}": value.detach() for name, value in losses.items()}
        self.log("train/loss", loss.detach(), prog_bar=True, sync_dist=self.trainer.world_size > 1)
        if batch_idx % _PARTS_EVERY == 0:
            self.log_dict(dict(self.loss_parts))
        return loss

    @contextmanager
    def at_progress(self, progress: float) -> Iterator[None]:
        """Compute the loss as it is when so much of the training is done.

        Args:
            progress: 0..1.
        """
        self._assumed_progress = progress
        try:
            yield
        finally:
            self._assumed_progress = None

    def _progress(self) -> float:
        return min(1.0, self.global_step / self._steps) if self._assumed_progress is None else self._assumed_progress

    def generate(self, batch: Batch) -> SwapOutput:
        """Swap a training batch."""
        output: SwapOutput = self.generator(batch["target"], batch["source"])
        return output

    def on_validation_epoch_start(self) -> None:
        """Forget the pictures of a validation that was interrupted."""
        self._validated.clear()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect swapped pictures, as clients show them."""
        raw, mask, composite = self.swap(batch)
        self._validated.append(ValidationBatch.of(batch, raw, mask, composite))

    def on_validation_epoch_end(self) -> None:
        """Evaluate the collected pictures and log the metrics."""
        validated = self._take_validated()
        self._log_figures(measure_once(lambda: self.datamodule.evaluate(validated)))

    def swap(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return raw faces (N,3,S,S) -1..1, masks (N,1,S,S) 0..1 and composites (N,3,S,S), without gradients."""
        with torch.no_grad():
            raw, mask, composite, _ = ExportWrapper(self.generator).forward_all(batch["target"], batch["source"])
        return raw, mask, composite

    def export_spec(self) -> ExportSpec:
        """Return the generator with its composite, as clients run it, for tracing.

        Raises:
            UserError: The module was not trained yet, so it has no identity.
        """
        if not self.provenance:
            raise UserError("model: was not trained, so there is no identity to export; give a checkpoint of a run")
        generator = self._export_generator().cpu().eval()
        size, embedding_size = generator.size, generator.embedding_size
        info = SwapperInfo(
            template=generator.template,
            size=size,
            embedding_size=embedding_size,
            takes_landmarks=generator.takes_landmarks,
            **self.provenance,
        )
        inputs = {TARGET: torch.zeros(1, 3, size, size)}
        if embedding_size is not None:
            inputs[SOURCE] = nn.functional.normalize(torch.ones(1, embedding_size))
        optional = landmark_example() if generator.takes_landmarks else {}
        return ExportSpec(ExportWrapper(generator), inputs, [OUTPUT, MASK], info.metadata(), optional=optional)

    def next_commands(self, run: str) -> list[str]:
        """Return how to swap with the exported file or a checkpoint, and how to export it for other programs."""
        folder = Path(self.trainer.default_root_dir)
        model = first_made(folder, f"exports/{self.datamodule.identity}.onnx", *FINAL_CHECKPOINTS)
        checkpoint = first_made(folder, *FINAL_CHECKPOINTS)
        swap = f"facesmith infer task=swap {quote(f'model={run}/{model}')} source=scene.mp4 output=swapped.mp4"
        export = f"facesmith export {quote(f'ckpt_path={run}/{checkpoint}')} to=dfm"
        return [*([swap] if model else []), *([export] if checkpoint else [])]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the settings that rebuild the module without any YAML."""
        checkpoint[RECORD] = checkpoint_record(self.config, self.provenance)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the identity.

        Raises:
            UserError: A training is resumed with other faces than it began with.
        """
        self.provenance = check_face_set(self.provenance, checkpoint)

    def _take_validated(self) -> ValidationBatch:
        validated, self._validated = ValidationBatch.concat(self._validated), []
        return validated

    def _log_figures(self, figures: Mapping[str, float]) -> None:
        self.provenance["gate"] = {name: value for name, value in figures.items() if name.startswith("val")}
        self.log_dict(dict(figures))

    def _export_generator(self) -> SwapGenerator:
        """Return a copy of the generator as it is exported."""
        return copy.deepcopy(self.generator)


def first_rows(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return at most RENDERED_ROWS rows of each tensor."""
    return {name: value[:RENDERED_ROWS] for name, value in tensors.items()}


def draw_columns(columns: Mapping[str, Tensor]) -> NDArray[np.uint8]:
    """Draw pictures (N,3,S,S) -1..1 by title, a column a title, at most RENDERED_ROWS rows: (H,W,3) RGB uint8."""
    return image_grid([as_bytes(pictures) for pictures in first_rows(columns).values()], list(columns))
