"""Training a face swapper."""

import copy
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning import LightningModule
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW

from facesmith.config.settings import ModuleConfig
from facesmith.errors import UserError
from facesmith.methods.swapper.advice import advice
from facesmith.methods.swapper.data import Batch, SwapperDataModule
from facesmith.methods.swapper.grid import titled_grid
from facesmith.methods.swapper.validation import Shots
from facesmith.models.checkpoint import RECORD, describe, load_module, same_faces
from facesmith.models.onnx.export_spec import ExportSpec
from facesmith.models.onnx.info import MASK, OUTPUT, SOURCE, TARGET, SwapperInfo
from facesmith.models.swapper.wrappers import Shown, SwapOutput
from facesmith.training.schedule import WarmupCosine, optimiser_steps

_SHOWN_AT_MOST = 12  # rows of the rendered grid
_PARTS_EVERY = 10  # batches between two logs of a loss's parts: at every step they would cost a tenth of it


@runtime_checkable
class TakesTextures(Protocol):
    """A generator that holds pictures of the person."""

    def set_textures(self, textures: Tensor, regions: Tensor, core: Tensor) -> None:
        """Take (K,S,S,3) uint8 RGB, and (2,S,S) and (S,S) in canonical coordinates."""
        ...


@runtime_checkable
class TakesRegions(Protocol):
    """A loss that weighs eyes and mouth."""

    def set_regions(self, regions: Tensor) -> None:
        """Take (2,S,S), eyes and mouth in canonical coordinates."""
        ...


class SwapperModule(LightningModule):
    """Teach a generator to turn targets into the person, judge it on scenes, and say how to export it."""

    def __init__(
        self, config: ModuleConfig, *, generator: nn.Module | None = None, loss: nn.Module | None = None
    ) -> None:
        """Take `SwapperModuleConfig`, and build what it names but for what is given."""
        super().__init__()
        settings: Any = config
        self.config = settings
        self.generator: nn.Module = generator or settings.generator.build()
        self.loss: nn.Module = loss or settings.loss.build()
        self.provenance: dict[str, Any] = {}
        self.loss_parts: Mapping[str, Tensor] = {}
        self._shots = Shots()

    @property
    def datamodule(self) -> SwapperDataModule:
        """The data being trained on; never kept, or copies of the module would copy it."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, SwapperDataModule)
        return data

    def setup(self, stage: str) -> None:
        """Take over what the data know: whose face it is, the person's pictures, the weights to start from."""
        if stage != "fit":
            return
        generator: Any = self.generator
        self.datamodule.require_embedder(generator.embedding_size, getattr(self.loss, "embedder", None))
        self.provenance = self.datamodule.provenance()
        if self.config.init_from is not None:
            self._start_from(load_module(self.config.init_from))
        textures = self.datamodule.textures
        if isinstance(self.generator, TakesTextures):
            self.generator.set_textures(*textures)
        if isinstance(self.loss, TakesRegions):
            self.loss.set_regions(textures.regions)
        if self.config.compile:
            self.generator.compile()

    def configure_optimizers(self) -> Any:
        """AdamW on generator and loss (a discriminator, if any), cosine after a linear warm-up, per step."""
        settings = self.config.optimizer
        optimizer = AdamW(
            [parameter for parameter in self.parameters() if parameter.requires_grad],
            settings.lr,
            betas=(settings.betas[0], settings.betas[1]),
            weight_decay=settings.weight_decay,
            # gradients scaled for float16 are clipped by Lightning, which a fused step does not allow
            fused=not str(self.trainer.precision).startswith("16"),
        )
        self._steps = optimiser_steps(self.trainer, self.datamodule.batches_per_epoch)
        schedule = WarmupCosine(optimizer, self._steps, settings.warmup, settings.final)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Swap, compare, log."""
        output = self.generator(batch["target"], batch["source"])
        with torch.autocast(self.device.type, enabled=False):
            face, mask, aux = output
            output = SwapOutput(face.float(), mask.float(), {name: value.float() for name, value in aux.items()})
            losses: dict[str, Tensor] = self.loss(output, batch, min(1.0, self.global_step / self._steps))
        loss = losses.pop("loss")
        self.loss_parts = {f"train/loss_{name}": value.detach() for name, value in losses.items()}
        self.log("train/loss", loss.detach(), prog_bar=True, sync_dist=self.trainer.world_size > 1)
        if batch_idx % _PARTS_EVERY == 0:
            self.log_dict(self.loss_parts)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect what a client would show."""
        self._shots.add(batch, *self._shown(batch))

    def on_validation_epoch_end(self) -> None:
        """Hold the pictures against the quality gate."""
        shots = self._shots.take()
        figures = self.datamodule.judge(shots) if self.trainer.is_global_zero else {}
        figures = self.trainer.strategy.broadcast(figures)  # all choose the same best checkpoint
        self.provenance["gate"] = {name: value for name, value in figures.items() if name.startswith("val")}
        self.log_dict(figures)

    def advise(self, figures: Mapping[str, float]) -> list[str]:
        """Say what the gate's figures show to be wrong, and which keys mend it."""
        faces = self.datamodule.casts[0].frames.faces
        count, size = len(faces), float(faces.sizes.mean())
        losses = type(self.config.loss).model_fields
        trained = {"steps": self.global_step, "epochs": self.trainer.current_epoch}
        return advice(figures, **trained, faces=count, size=size, losses=losses)

    def render(self, batch: Batch) -> NDArray[np.uint8]:
        """Return a grid (H,W,3) RGB uint8: target, pseudo truth, raw output, composite, a row a picture."""
        few = {name: value[:_SHOWN_AT_MOST] for name, value in batch.items()}
        raw, _, shown, _ = self._shown(few)
        columns = {
            "target": few["target"],
            "pseudo truth": few["truth"],
            "raw output": raw,
            "composite": shown,
        }
        return titled_grid(columns)

    def export_spec(self) -> ExportSpec:
        """Trace the generator with its composite, as clients run it.

        Raises:
            UserError: the module was not trained yet, so that it is nobody's.
        """
        if not self.provenance:
            raise UserError("model: was not trained, so there is nobody to export; give a checkpoint of a run")
        generator: Any = self._whole().cpu().eval()
        contract = SwapperInfo(
            template=generator.template,
            size=generator.size,
            embedding_size=generator.embedding_size,
            **self.provenance,
        )
        size, embedding_size = generator.size, generator.embedding_size
        inputs = {TARGET: torch.zeros(1, 3, size, size)}
        if embedding_size is not None:
            inputs[SOURCE] = nn.functional.normalize(torch.ones(1, embedding_size))
        return ExportSpec(Shown(generator), inputs, [OUTPUT, MASK], contract.metadata())

    def _whole(self) -> nn.Module:
        """Return a copy of the generator as it is exported."""
        return copy.deepcopy(self.generator)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the module without any YAML."""
        checkpoint[RECORD] = describe(self.config, self.provenance)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember whose face it is.

        Raises:
            UserError: a training is to go on with other faces than it began with.
        """
        self.provenance = same_faces(self.provenance, checkpoint)

    def _shown(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        with torch.no_grad():
            return Shown(self.generator).all(batch["target"], batch["source"])

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
