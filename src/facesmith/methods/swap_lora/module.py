"""Training a LoRA that fits a frozen swapper to one scene."""

import logging
import math
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from facesmith.config.settings import Component
from facesmith.errors import UserError
from facesmith.files import short_path
from facesmith.methods.swap_lora.base import open_generator, read_base
from facesmith.methods.swap_lora.comparison import BaseComparison
from facesmith.methods.swap_lora.config import SwapLoraModuleConfig
from facesmith.methods.swap_lora.data import SwapLoraDataModule
from facesmith.methods.swap_lora.losses import BASE_FACE, BASE_MASK, SwapLoraLoss
from facesmith.models.adapters import card, store
from facesmith.models.adapters.lora import add_lora, base_hash, is_lora, lora_state, merge_lora, without_lora
from facesmith.models.adapters.merge import write_merged
from facesmith.models.adapters.spec import load_adapters
from facesmith.models.checkpoint import RECORD, checkpoint_record
from facesmith.models.onnx.export_spec import ExportReport, ExportSpec
from facesmith.models.onnx.to_torch.generator import OnnxGenerator
from facesmith.models.swapper.aad import Aad
from facesmith.models.swapper.generator import SwapGenerator, SwapOutput
from facesmith.training.distributed import gather_rows, measure_once, own_rows
from facesmith.training.run.checkpoint_files import first_made
from facesmith.training.swapping.dataset import Batch
from facesmith.training.swapping.evaluation import ValidationBatch
from facesmith.training.swapping.module import SwapModule, draw_columns

log = logging.getLogger(__name__)

_GENERATOR: Final = ".generator."


class SwapLoraModule(SwapModule):
    """Trains a LoRA over a frozen swapper on one scene, and evaluates base and adapter side by side.

    Training step, optimiser and export are `SwapModule`'s. Checkpoints contain only the LoRA, and name the base it
    belongs to. Layers that normalise by batch statistics keep the base's.

    Attributes:
        base: Properties of the base.
        base_hash: SHA-256 of its weights.
        layers: Names of the layers that have a LoRA.
        scene: Key and name of the scene's face set; empty before training.
    """

    config: SwapLoraModuleConfig
    loss: SwapLoraLoss

    def __init__(self, config: SwapLoraModuleConfig) -> None:
        base = read_base(config.base, config.onnx)
        generator = open_generator(base)
        hash_before = base_hash(generator)
        layers = add_lora(generator, config)
        base_loss = _without_identity_and_adversary(base.loss or config.foreign_loss).build()
        super().__init__(config, generator, SwapLoraLoss(base_loss, **config.loss.model_dump(), embedder=base.embedder))
        if isinstance(generator, Aad):
            generator.checkpointing = config.gradient_checkpointing
        self.base, self.base_hash, self.layers = base, hash_before, layers
        self.scene: dict[str, Any] = {}
        self._base_validated: list[ValidationBatch] = []
        self._comparison = BaseComparison()
        self._grid: NDArray[np.uint8] | None = None
        self.register_state_dict_post_hook(_drop_base)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_ignore_missing_base)  # type: ignore[no-untyped-call]
        self.train(self.training)

    @property
    def datamodule(self) -> SwapLoraDataModule:
        """The trainer's data module; never stored, or copies of the module would copy it."""
        data = super().datamodule
        assert isinstance(data, SwapLoraDataModule)
        return data

    def setup(self, stage: str) -> None:
        """Take identity and scene from the data, and check that they fit the base."""
        if stage != "fit":
            return
        data, generator = self.datamodule, self.generator
        data.require_embedder(getattr(generator, "embedding_size", None), None)
        self.provenance = data.provenance()
        self.scene = {"key": data.scene.key, "name": data.config.name}
        if isinstance(generator, OnnxGenerator) and generator.info.photo is not None:
            generator.set_photo(data.photo(*generator.info.photo))
        self.loss.identity_loss.embedder = self.provenance["embedder"]  # a file may state none
        self._log_size()

    def train(self, mode: bool = True) -> "SwapLoraModule":
        """Set train or eval mode; batch normalisation stays in eval, with the base's statistics."""
        super().train(mode)
        for layer in self.generator.modules():
            if isinstance(layer, _BatchNorm):
                layer.eval()
        return self

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute and log the loss; prior pictures, not of the scene, are compared with the base's output."""
        prior = batch["prior"]
        if not bool(prior.any()):
            batch = {name: value for name, value in batch.items() if name != "prior"}
        else:
            rows = prior.nonzero()[:, 0]
            with torch.no_grad(), without_lora(self.generator):
                base_output = self.generator(batch["target"][rows], batch["source"][rows])
            batch = {**batch, BASE_FACE: base_output.face.float(), BASE_MASK: base_output.mask.float()}
        return super().training_step(batch, batch_idx)

    def generate(self, batch: Batch) -> SwapOutput:
        """Swap this process's rows of a batch, and return those of all processes: the loss compares neighbours."""
        own = own_rows({name: batch[name] for name in ("target", "source")})
        output = super().generate(own)
        aux = {name: gather_rows(value) for name, value in output.aux.items()}
        return SwapOutput(gather_rows(output.face), gather_rows(output.mask), aux)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect results with and without the adapter, as clients show them."""
        adapted = self.swap(batch)
        with without_lora(self.generator):
            base = self.swap(batch)
        self._validated.append(ValidationBatch.of(batch, *adapted))
        self._base_validated.append(ValidationBatch.of(batch, *base))
        self._comparison.add(batch, base[2], adapted[2])
        if not batch_idx:
            columns = {
                "target": batch["target"],
                "pseudo truth": batch["truth"],
                "base": base[2],
                "adapter": adapted[2],
            }
            self._grid = draw_columns(columns)

    def on_validation_epoch_start(self) -> None:
        """Forget the pictures of a validation that was interrupted."""
        super().on_validation_epoch_start()
        self._base_validated.clear()
        self._comparison = BaseComparison()

    def on_validation_epoch_end(self) -> None:
        """Evaluate base and adapter by the same metrics: `base/` and `val/`, `base_holdout/` and `val_holdout/`."""
        base, self._base_validated = ValidationBatch.concat(self._base_validated), []
        validated, data = self._take_validated(), self.datamodule
        figures = measure_once(
            lambda: {**data.evaluate_base(base), **data.evaluate(validated), **self._comparison.take()}
        )
        data.figures |= figures  # kept in checkpoints
        self._log_figures(figures)

    def next_commands(self, run: str) -> list[str]:
        """Return how to swap with base and adapter, and how to merge them into one file; without an adapter, those."""
        if first_made(Path(self.trainer.default_root_dir), "adapter") is None:
            return super().next_commands(run) if self.base.kind != "onnx" else []  # whose merged file has its own name
        adapter, base = quote(f"adapter={run}/adapter"), short_path(self.base.path)
        return [
            f"facesmith infer task=swap {quote(f'model={base}')} {adapter} source=scene.mp4 output=swapped.mp4",
            f"facesmith export {quote(f'ckpt_path={base}')} {adapter}",
        ]

    def pop_videos(self) -> list[tuple[str, NDArray[np.uint8]]]:
        """Return the film of the tail drawn since the last time: target, base and adapter side by side."""
        film = self._comparison.film()
        return [] if film is None else [("tail", film)]

    def overview(self) -> NDArray[np.uint8]:
        """Return a grid (H,W,3) RGB uint8: target, pseudo truth, base, adapter, a row a picture."""
        assert self._grid is not None
        return self._grid

    def suggest_fixes(self, figures: Mapping[str, float]) -> list[str]:
        """Return advice for metrics of held-out frames on which the adapter is worse than its base."""
        lines = []
        for name, title in (("judge_distance", "the person"), ("nme", "the target's features")):
            adapter, base = (figures.get(f"{prefix}_holdout/{name}") for prefix in ("val", "base"))
            if adapter is not None and base is not None and adapter > base:
                lines.append(
                    f"the adapter is farther from {title} than its base: val_holdout/{name} {adapter:.3f}, the base "
                    f"{base:.3f}; lower model.optimizer.lr or model.rank, or give more of the scene in data.target"
                )
        return lines

    def save_adapter(self, folder: Path) -> list[Path]:
        """Write the adapter's folder, after checking that the base is unchanged.

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
        """Return base and adapter merged, for tracing.

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
        checkpoint[RECORD] = {**checkpoint_record(settings, self.provenance), **about}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore identity and scene; refuse another base.

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
                f"data.target: its faces are not those this run was trained on (face set {record['scene']['key']} -> "
                f"{self.scene['key']}); use the same media again, or start a new run without resume="
            )
        super().on_load_checkpoint(checkpoint)
        self.scene = record["scene"]

    def _export_generator(self) -> SwapGenerator:
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

    def _log_size(self) -> None:
        tensors = lora_state(self.generator).values()
        lora_size = sum(value.numel() for value in tensors)
        base_size = sum(value.numel() for name, value in self.generator.state_dict().items() if not is_lora(name))
        log.info(
            "LoRA of rank %d on %d layers: %d parameters, %.1f %% of the base's",
            self.config.rank,
            len(self.layers),
            lora_size,
            100 * lora_size / base_size,
        )


def _without_identity_and_adversary(loss: Component) -> Component:
    """Return the base's loss without both terms: the adapter has its own identity loss, a discriminator would win."""
    silent: dict[str, Any] = {name: 0.0 for name in ("identity", "adversarial") if name in type(loss).model_fields}
    return loss.model_copy(update=silent)


def _drop_base(module: nn.Module, tensors: dict[str, Any], prefix: str, _: object) -> None:
    for name in [name for name in tensors if name.startswith(f"{prefix}generator.") and not is_lora(name)]:
        del tensors[name]


def _ignore_missing_base(module: nn.Module, keys: Any) -> None:
    keys.missing_keys[:] = [name for name in keys.missing_keys if _GENERATOR not in f".{name}" or is_lora(name)]
