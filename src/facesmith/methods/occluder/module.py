"""Training of the occluder: a network that predicts which part of a face is visible."""

import copy
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW

from facesmith import assets
from facesmith.errors import UserError
from facesmith.faces.geometry.masks import soften_mask
from facesmith.media.visualization import image_grid, overlay_mask
from facesmith.methods.occluder.config import OccluderModuleConfig
from facesmith.methods.occluder.data import Batch, OccluderDataModule
from facesmith.methods.occluder.landmark_planes import to_unit
from facesmith.methods.occluder.metrics import MaskMetrics, flicker
from facesmith.methods.occluder.model_card import occluder_card, occluder_metadata
from facesmith.methods.occluder.networks import MaskNetwork, ResizedMask
from facesmith.models.checkpoint import RECORD, check_face_set, checkpoint_record, load_module
from facesmith.models.landmarks.face_mesh import FaceMesh
from facesmith.models.onnx.clients import XSEG_INPUT, XSEG_OUTPUT, XsegGraph
from facesmith.models.onnx.export_spec import ExportSpec
from facesmith.models.onnx.landmark_input import landmark_example
from facesmith.training.callbacks.protocols import get_datamodule
from facesmith.training.run.checkpoint_files import FINAL_CHECKPOINTS, first_made
from facesmith.training.schedule import count_optimizer_steps, with_warmup_cosine


class OccluderModule(LightningModule):
    """Train a network to predict masks of the visible face.

    Args:
        config: The settings.
    """

    def __init__(self, config: OccluderModuleConfig) -> None:
        super().__init__()
        self.config = config
        self.network = MaskNetwork(
            config.architecture,
            config.encoder,
            config.encoder_weights if config.init_from is None else None,
            config.decoder_channels,
            config.detail_channels,
            config.encoder_depth,
            config.forehead,
        )
        self.loss: nn.Module = config.loss.build()
        self.provenance: dict[str, Any] = {}
        self.loss_parts: dict[str, Tensor] = {}
        self._metrics: MaskMetrics | None = None
        self._consecutive: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def datamodule(self) -> OccluderDataModule:
        """The trainer's data module; never stored, or copies of the module would copy it."""
        data = get_datamodule(self.trainer)
        assert isinstance(data, OccluderDataModule)
        return data

    def setup(self, stage: str) -> None:
        """Take the provenance of the data, and the weights to start from."""
        if stage != "fit":
            return
        self.provenance = self.datamodule.provenance()
        self._metrics = MaskMetrics(self.datamodule.unseen)
        if self.config.init_from is not None:
            self.start_from(load_module(Path(assets.resolve(str(self.config.init_from)))))
        elif not self.network.planes.canonical.any():
            self.network.planes.set_face(*self.datamodule.canonical_face())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW with a cosine schedule after a linear warm-up, per step."""
        settings = self.config.optimizer
        steps = count_optimizer_steps(self.trainer, self.datamodule.batches_per_epoch)
        optimizer = AdamW(self.configure_groups(), settings.lr, weight_decay=settings.weight_decay)
        return with_warmup_cosine(optimizer, steps, settings)

    def configure_groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups: the encoder's has its own learning rate."""
        settings = self.config.optimizer
        encoder = list(self.network.encoder.parameters())
        encoder_set = set(encoder)
        others = [parameter for parameter in self.network.parameters() if parameter not in encoder_set]
        return [{"params": others}, {"params": encoder, "lr": settings.lr * settings.encoder_lr_factor}]

    def predict(self, batch: Batch) -> Tensor:
        """Compute the logits (N,1,S,S) of a batch's `picture` and `points`."""
        picture = batch["picture"]
        logits: Tensor = self.network(picture, to_unit(batch["points"], int(picture.shape[-1])))
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Predict masks, compute and log the loss."""
        losses: dict[str, Tensor] = self.loss(self.predict(batch), batch["mask"])
        loss = losses.pop("loss")
        self.loss_parts = {f"train/loss_{name}": value.detach() for name, value in losses.items()}
        self.log("train/loss", loss.detach(), prog_bar=True, sync_dist=self.trainer.world_size > 1)
        self.log_dict(self.loss_parts)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the pictures of a validation that was interrupted."""
        assert self._metrics is not None
        self._metrics.compute_and_reset()
        self._consecutive = []

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Update the metrics; collect predictions of consecutive frames for flicker."""
        probability = self.predict(batch).sigmoid()
        if dataloader_idx:
            self._consecutive.append((probability[:, 0].cpu(), batch["points"][..., :2].cpu(), batch["track"].cpu()))
        elif self._metrics is not None:
            self._metrics.to(self.device).update(probability, batch["mask"], batch["hull"], batch["family"])

    def on_validation_epoch_end(self) -> None:
        """Compute and log the metrics."""
        assert self._metrics is not None
        values: dict[str, Any] = {f"val/{name}": value for name, value in self._metrics.compute_and_reset().items()}
        if self._consecutive:
            masks, points, tracks = (torch.cat(part).numpy() for part in zip(*self._consecutive, strict=True))
            change = flicker(masks, points, tracks)
            if change is not None:
                values["val/flicker"] = change
        self._consecutive = []
        self.provenance["gate"] = {name: float(value) for name, value in values.items()}
        self.log_dict(values)

    def next_commands(self, run: str) -> list[str]:
        """Return how to swap with these masks, and how to draw them alone; without a file of them, how to make one."""
        folder = Path(self.trainer.default_root_dir)
        exported = first_made(folder, f"exports/{self.datamodule.config.name}.onnx")
        if exported is None:
            checkpoint = first_made(folder, *FINAL_CHECKPOINTS)
            return [f"facesmith export {quote(f'ckpt_path={run}/{checkpoint}')} to=xseg"] if checkpoint else []
        occluder = quote(f"occluder={run}/{exported}")
        return [
            f"facesmith infer task=swap model=ada.onnx {occluder} source=scene.mp4 output=swapped.mp4",
            f"facesmith infer task=mask {occluder} source=scene.mp4 output=mask.mp4",
        ]

    def render(self, batch: Batch) -> NDArray[np.uint8]:
        """Draw picture, label, prediction, and the mask a swap would get, a row a face: (H,W,3) RGB uint8."""
        with torch.no_grad():
            probability = self.predict(batch).sigmoid()
        predictions = probability[:, 0].float().cpu().numpy()
        pictures = (batch["picture"].float().cpu().numpy().transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)
        masks = {
            "label": batch["mask"][:, 0].float().cpu().numpy(),
            "prediction": predictions,
            "swap mask": np.stack([soften_mask(mask) for mask in predictions]),
        }
        overlays = [
            np.stack([overlay_mask(*pair) for pair in zip(pictures, column, strict=True)]) for column in masks.values()
        ]
        return image_grid([pictures, *overlays], ["picture", *masks])

    def export_spec(self) -> ExportSpec:
        """Return the occluder in the format of FaceFusion's xseg models, at `export_size`, for tracing.

        Raises:
            UserError: The module was not trained yet.
        """
        if not self.provenance:
            raise UserError("model: was not trained, so there is nothing to export; give a checkpoint of a run")
        network = copy.deepcopy(self.network).cpu().eval().to(memory_format=torch.contiguous_format)
        size = self.config.export_size
        metadata = occluder_metadata(self.provenance, size)
        return ExportSpec(
            XsegGraph(ResizedMask(network, self.provenance["size"], FaceMesh())),
            {XSEG_INPUT: torch.full((1, size, size, 3), 0.5)},
            [XSEG_OUTPUT],
            metadata,
            pictures="bgr",
            mask=XSEG_OUTPUT,
            optional=landmark_example(),
            card=occluder_card(metadata),
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add settings and provenance, from which the module is rebuilt without any YAML."""
        checkpoint[RECORD] = checkpoint_record(self.config.without_pretrained_weights(), self.provenance)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the provenance.

        Raises:
            UserError: A resumed training has other faces than it began with.
        """
        self.provenance = check_face_set(self.provenance, checkpoint)

    def start_from(self, other: LightningModule) -> None:
        """Take the weights and the canonical face of another occluder.

        Raises:
            UserError: It is another network.
        """
        if not isinstance(other, OccluderModule):
            raise UserError(
                f"model.init_from={self.config.init_from}: holds no occluder; give an occluder's checkpoint"
            )
        try:
            self.network.load_state_dict(other.network.state_dict())
        except RuntimeError:
            raise UserError(
                f"model.init_from={self.config.init_from}: is a {other.config.architecture} with "
                f"{other.config.encoder}; choose the same with model.architecture=, model.encoder= and the like, or "
                "start anew with model.init_from=null"
            ) from None
