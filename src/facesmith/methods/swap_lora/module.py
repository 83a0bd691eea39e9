"""Training a LoRA that fits a frozen swapper to one scene."""

import logging
import math
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from facesmith.config.settings import Component
from facesmith.errors import UserError
from facesmith.methods.swap_lora.base import open_generator, read_base
from facesmith.methods.swap_lora.config import SwapLoraModuleConfig
from facesmith.methods.swap_lora.data import SwapLoraDataModule
from facesmith.methods.swap_lora.losses import BASE_FACE, BASE_MASK, SwapLoraLoss
from facesmith.methods.swap_lora.validation import Comparison
from facesmith.methods.swapper.data import Batch
from facesmith.methods.swapper.grid import titled_grid
from facesmith.methods.swapper.module import SwapperModule, TakesRegions
from facesmith.methods.swapper.validation import Shots
from facesmith.models.adapters import card, store
from facesmith.models.adapters.lora import add_lora, base_hash, is_lora, lora_state, merge_lora, without_lora
from facesmith.models.adapters.merge import write_merged
from facesmith.models.adapters.spec import load_adapters
from facesmith.models.checkpoint import RECORD, describe
from facesmith.models.onnx.export_spec import ExportReport, ExportSpec
from facesmith.models.onnx.to_torch.generator import OnnxGenerator

log = logging.getLogger(__name__)

_SHOWN_AT_MOST = 12  # rows of the rendered grid
_GENERATOR = ".generator."


class SwapLoraModule(SwapperModule):
    """Lay a LoRA over a swapper that stays as it is, teach it one scene, and judge both side by side.

    Steps, losses, gate and export are the swapper's own. Checkpoints hold the LoRA alone, and say which base it
    belongs to. Layers that normalise by batch statistics keep the base's.
    """

    def __init__(self, config: SwapLoraModuleConfig) -> None:
        self.base = read_base(config.base, config.onnx)
        generator: Any = open_generator(self.base)
        self.base_hash = base_hash(generator)
        layers = add_lora(generator, config)
        own = _quiet(self.base.loss or config.foreign_loss).build()
        loss = SwapLoraLoss(own, **config.loss.model_dump(), embedder=self.base.embedder)
        super().__init__(config, generator=generator, loss=loss)
        if hasattr(generator, "checkpointing"):
            generator.checkpointing = config.gradient_checkpointing
        self.layers = layers
        self.scene: dict[str, Any] = {}
        self._base_shots = Shots()
        self._comparison = Comparison()
        self._grid: NDArray[np.uint8] | None = None
        whole: Any = self
        whole.register_state_dict_post_hook(_drop_base)
        whole.register_load_state_dict_post_hook(_excuse_base)
        self.train(self.training)

    @property
    def datamodule(self) -> SwapLoraDataModule:
        """The data being trained on; never kept, or copies of the module would copy it."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, SwapLoraDataModule)
        return data

    def train(self, mode: bool = True) -> "SwapLoraModule":
        """Choose the mode; what normalises by the base's statistics stays in eval."""
        super().train(mode)
        for layer in self.generator.modules():
            if isinstance(layer, _BatchNorm):
                layer.eval()
        return self

    def setup(self, stage: str) -> None:
        """Take over whose face it is and which scene, and hold the data against the base."""
        if stage != "fit":
            return
        data, generator = self.datamodule, self.generator
        data.require_embedder(getattr(generator, "embedding_size", None), None)
        self.provenance = data.provenance()
        self.scene = {"key": data.scene.key, "name": data.config.name}
        if isinstance(generator, OnnxGenerator) and generator.info.photo is not None:
            generator.set_photo(data.photo(*generator.info.photo))
        loss: Any = self.loss
        loss.likeness.embedder = self.provenance["embedder"]  # a file may not say any
        own = loss.own
        if isinstance(own, TakesRegions):
            own.set_regions(data.textures.regions)
        self._tell_size()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Swap, compare, log; pictures that are not of the scene are compared with what the base makes of them."""
        foreign = batch["foreign"]
        if not bool(foreign.any()):
            batch = {name: value for name, value in batch.items() if name != "foreign"}
        else:
            rows = foreign.nonzero()[:, 0]
            with torch.no_grad(), without_lora(self.generator):
                made = self.generator(batch["target"][rows], batch["source"][rows])
            batch = {**batch, BASE_FACE: made.face.float(), BASE_MASK: made.mask.float()}
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect what a client would show, with the adapter and without."""
        adapted = self._shown(batch)
        with without_lora(self.generator):
            base = self._shown(batch)
        self._shots.add(batch, *adapted)
        self._base_shots.add(batch, *base)
        self._comparison.add(batch, base[2], adapted[2])
        if not batch_idx:
            columns = {
                "target": batch["target"],
                "pseudo truth": batch["truth"],
                "base": base[2],
                "adapter": adapted[2],
            }
            self._grid = titled_grid({title: pictures[:_SHOWN_AT_MOST] for title, pictures in columns.items()})

    def on_validation_epoch_end(self) -> None:
        """Hold base and adapter against the same gate: `base/` and `val/`, `base_holdout/` and `val_holdout/`."""
        shots, base = self._shots.take(), self._base_shots.take()
        data = self.datamodule
        figures = {**data.judge_base(base), **data.judge(shots), **self._comparison.take()}
        self.provenance["gate"] = {name: value for name, value in figures.items() if name.startswith("val")}
        data.figures |= figures  # kept in checkpoints
        self.log_dict(figures)

    def drawn(self) -> list[tuple[str, NDArray[np.uint8]]]:
        """Return the film of the tail drawn since the last time: target, base and adapter side by side."""
        film = self._comparison.film()
        return [] if film is None else [("tail", film)]

    def overview(self) -> NDArray[np.uint8]:
        """Return a grid (H,W,3) RGB uint8: target, pseudo truth, base, adapter, a row a picture."""
        assert self._grid is not None
        return self._grid

    def advise(self, figures: Mapping[str, float]) -> list[str]:
        """Say where the adapter does worse than its base on what neither has seen, and which keys mend it."""
        lines = []
        for name, title in (("judge_distance", "the person"), ("nme", "the target's features")):
            ours, base = (figures.get(f"{prefix}_holdout/{name}") for prefix in ("val", "base"))
            if ours is not None and base is not None and ours > base:
                lines.append(
                    f"the adapter is farther from {title} than its base: val_holdout/{name} {ours:.3f}, the base "
                    f"{base:.3f}; lower model.optimizer.lr or model.rank, or give more of the scene in data.target"
                )
        return lines

    def save_adapter(self, folder: Path) -> list[Path]:
        """Write the adapter's folder, and say how large it is beside its base.

        Raises:
            RuntimeError: the base is not what it was before training.
        """
        if base_hash(self.generator) != self.base_hash:
            raise RuntimeError("the frozen base was changed by training; the adapter is not written")
        store.save_adapter(folder, lora_state(self.generator), self._card())
        return sorted(path for path in folder.iterdir() if path.is_file())

    def write_onnx(self, folder: Path) -> ExportReport | None:
        """Write a base that is a file with the adapter in its weights, in its own contract; None for a checkpoint."""
        if self.base.kind != "onnx":
            return None
        with tempfile.TemporaryDirectory() as scratch:
            store.save_adapter(Path(scratch, "adapter"), lora_state(self.generator), self._card())
            adapters = load_adapters(Path(scratch, "adapter"), None, 1.0)
            assert adapters is not None
            return write_merged(self.base.path, adapters, folder)

    def export_spec(self) -> ExportSpec:
        """Trace base and adapter in one.

        Raises:
            UserError: the module was not trained yet, or its base is a file, which is not traced.
        """
        if self.base.kind == "onnx":
            raise UserError(
                f"{self.base.path}: keeps its own graph; its merged file is in the run's exports/, or run "
                "facesmith export ckpt_path=<that file> adapter=<the run's adapter/>"
            )
        return super().export_spec()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the module without any YAML."""
        settings = self.config.model_copy(update={"base": self.base.path.resolve()})
        about = {"base_hash": self.base_hash, "scene": self.scene}
        checkpoint[RECORD] = {**describe(settings, self.provenance), **about}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember whose face it is and which scene; refuse another base.

        Raises:
            UserError: the base is not the one that the adapter was trained on, or the scene is another.
        """
        record = checkpoint[RECORD]
        if record["base_hash"] != self.base_hash:
            raise UserError(
                f"model.base={self.base.path}: is not the base that this adapter was trained on (weights "
                f"{record['base_hash'][:12]}, found {self.base_hash[:12]}); give that one"
            )
        if self.scene and self.scene["key"] != record["scene"]["key"]:
            raise UserError(
                f"data.target: its faces are not those this run learnt from (face set {record['scene']['key']} -> "
                f"{self.scene['key']}); give the same media back, or start a new run without resume="
            )
        super().on_load_checkpoint(checkpoint)
        self.scene = record["scene"]

    def _whole(self) -> nn.Module:
        return merge_lora(self.generator)

    def _card(self) -> card.AdapterCard:
        config, base, about = self.config, self.base, self.provenance
        return card.AdapterCard(
            base=card.BaseReference(str(base.path), self.base_hash, base.kind, base.generator, base.embedder),
            scene=card.Scene(**self.scene),
            identity=about["identity"],
            face_set=about["face_set"],
            consent=card.Consent(
                about["identity"], about["consent"], datetime.now(UTC).date().isoformat(), about["consent_note"]
            ),
            rank=config.rank,
            alpha=config.alpha or float(config.rank),
            rslora=config.rslora,
            dora=config.dora,
            targets=tuple(self.layers),
            steps=self.global_step,
            figures={name: value for name, value in self.datamodule.figures.items() if math.isfinite(value)},
        )

    def _tell_size(self) -> None:
        tensors = lora_state(self.generator).values()
        numbers = sum(value.numel() for value in tensors)
        whole = sum(value.numel() for name, value in self.generator.state_dict().items() if not is_lora(name))
        log.info(
            "LoRA of rank %d on %d layers: %d numbers, %.1f %% of the base's",
            self.config.rank,
            len(self.layers),
            numbers,
            100 * numbers / whole,
        )


def _quiet(loss: Component) -> Component:
    """The base's own loss without likeness and adversary: the one is the adapter's own, the other would outgrow it."""
    silent: dict[str, Any] = {name: 0.0 for name in ("identity", "adversarial") if name in type(loss).model_fields}
    return loss.model_copy(update=silent)


def _drop_base(module: nn.Module, tensors: dict[str, Any], prefix: str, _: Any) -> None:
    for name in [name for name in tensors if name.startswith(f"{prefix}generator.") and not is_lora(name)]:
        del tensors[name]


def _excuse_base(module: nn.Module, keys: Any) -> None:
    keys.missing_keys[:] = [name for name in keys.missing_keys if _GENERATOR not in f".{name}" or is_lora(name)]
