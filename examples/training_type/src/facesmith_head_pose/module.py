"""The training: a network learns pitch and yaw from crops, and is measured on faces it has not seen."""

from typing import Any

import cv2
import numpy as np
import torch
from lightning import LightningModule
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW

from facesmith.models.checkpoint import RECORD, check_face_set, checkpoint_record
from facesmith.training.callbacks.protocols import get_datamodule
from facesmith.training.schedule import count_optimizer_steps, with_warmup_cosine
from facesmith_head_pose.config import HeadPoseModuleConfig
from facesmith_head_pose.data import Batch, HeadPoseDataModule
from facesmith_head_pose.networks import PoseNetwork

_SHOWN = 8  # faces of a rendered picture
_TRUTH, _ESTIMATE = (80, 220, 100), (255, 90, 60)  # RGB


class HeadPoseModule(LightningModule):
    """Train a network to say where a face looks.

    Args:
        config: The settings.
    """

    def __init__(self, config: HeadPoseModuleConfig) -> None:
        super().__init__()
        self.config = config
        self.network = PoseNetwork(config.channels)
        self.provenance: dict[str, Any] = {}

    @property
    def datamodule(self) -> HeadPoseDataModule:
        """The data module of the trainer; never kept, or copies of the module would copy it."""
        data = get_datamodule(self.trainer)
        assert isinstance(data, HeadPoseDataModule)
        return data

    def setup(self, stage: str) -> None:
        """Take the provenance of the data."""
        if stage == "fit":
            self.provenance = self.datamodule.provenance()

    def configure_optimizers(self) -> Any:
        """Return AdamW with a cosine schedule after a linear warm-up, per step."""
        settings = self.config.optimizer
        steps = count_optimizer_steps(self.trainer, self.datamodule.batches_per_epoch)
        optimizer = AdamW(self.network.parameters(), settings.lr, weight_decay=settings.weight_decay)
        return with_warmup_cosine(optimizer, steps, settings)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Estimate angles, compute and log the loss."""
        loss = functional.smooth_l1_loss(self.network(batch["crop"]), batch["angles"], beta=2.0)  # degrees
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the mean error of pitch and yaw, in degrees."""
        error = (self.network(batch["crop"]) - batch["angles"]).abs().mean(0)
        self.log_dict(
            {"val/error": error.mean(), "val/error_pitch": error[0], "val/error_yaw": error[1]},
            on_epoch=True,
            batch_size=len(batch["crop"]),
        )

    def render(self, batch: Batch) -> NDArray[np.uint8]:
        """Draw where faces look, the truth green and the estimate red: (H,W,3) RGB uint8."""
        with torch.no_grad():
            estimates = self.network(batch["crop"]).cpu().numpy()
        pictures = (batch["crop"].cpu().numpy().transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)
        truths = batch["angles"].cpu().numpy()
        rows = zip(pictures[:_SHOWN], truths, estimates, strict=False)
        return np.concatenate([_draw(picture, truth, estimate) for picture, truth, estimate in rows], 1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add settings and provenance, from which the module is rebuilt without any YAML."""
        checkpoint[RECORD] = checkpoint_record(self.config, self.provenance)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the provenance; a resumed training must have the faces it began with."""
        self.provenance = check_face_set(self.provenance, checkpoint)


def _draw(picture: NDArray[np.uint8], truth: NDArray[np.float32], estimate: NDArray[np.float32]) -> NDArray[np.uint8]:
    drawn = np.ascontiguousarray(picture)
    side = len(drawn)
    for (pitch, yaw), colour in ((truth, _TRUTH), (estimate, _ESTIMATE)):
        reach = side * np.sin(np.radians([yaw, pitch]))
        tip = tuple((side / 2 + reach).round().astype(int).tolist())
        cv2.arrowedLine(drawn, (side // 2, side // 2), tip, colour, 2, cv2.LINE_AA)
    return drawn
