"""Training a mapper and a LoRA beside a frozen Wan-VACE transformer."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.graph import save_on_cpu

from facesmith.errors import UserError
from facesmith.methods.video_lora.adapter_bundle import person_of
from facesmith.methods.video_lora.base import keep_small, open_base
from facesmith.methods.video_lora.config import VideoLoraModuleConfig
from facesmith.methods.video_lora.data import VideoLoraDataModule
from facesmith.methods.video_lora.dataset import Batch
from facesmith.methods.video_lora.evaluation import Validation
from facesmith.methods.video_lora.flow_matching import TIMESTEPS, draw_levels, flow_loss, noised
from facesmith.methods.video_lora.identities import write_profiles
from facesmith.methods.video_lora.lora import add_lora, without_lora
from facesmith.methods.video_lora.memory_check import checkpoints_to_come, compute_dtype, tell_room
from facesmith.methods.video_lora.memory_estimate import checkpoint_bytes
from facesmith.methods.video_lora.networks import (
    FaceMapper,
    FaceTransformer,
    add_face_attention,
    conditioned,
    is_face_attention,
)
from facesmith.models.checkpoint import RECORD, describe
from facesmith.training.schedule import WarmupCosine, optimiser_steps


class VideoLoraModule(LightningModule):
    """Teach a base a person's face: tokens of the mapper ask for it, the LoRA knows how to draw it.

    Checkpoints hold mapper and LoRA alone, and say which base they belong to.
    """

    transformer: Any

    def __init__(self, config: VideoLoraModuleConfig) -> None:
        super().__init__()
        self.config = config
        self.base = open_base(config.base)
        mapper = config.mapper
        self.mapper = FaceMapper(
            mapper.embedding_size,
            mapper.widths,
            mapper.tokens,
            self.base.text_width,
            mapper.dropout,
            mapper.token_norm,
        )
        self.transformer = None
        self.provenance: dict[str, Any] = {}
        self._validation = Validation(self.base, config.validation.model_dump(), config.loss.shift)

    @property
    def datamodule(self) -> VideoLoraDataModule:
        """The data being trained on; never kept, or copies of the module would copy it."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, VideoLoraDataModule)
        return data

    def setup(self, stage: str) -> None:
        """Hold the data against the networks, and take over whose face it is."""
        if stage != "fit":
            return
        size = self.datamodule.embedding_size
        if size != self.mapper.embedding_size:
            raise UserError(
                f"model.mapper.embedding_size={self.mapper.embedding_size}: the face encoder gives {size}; set "
                f"model.mapper.embedding_size={size}"
            )
        base = {"base": self.base.name, "base_hash": self.base.fingerprint, "injection": self.config.injection}
        self.provenance = {**self.datamodule.provenance(), **base}

    def configure_model(self) -> None:
        """Load the base and lay the adapter over it; only now, when the encoders of the data are gone."""
        if self.transformer is not None:
            return
        settings = self.config
        dtype = compute_dtype(settings.base_dtype)
        decoupled = settings.injection == "decoupled"
        transformer = self.base.transformer(dtype, FaceTransformer if decoupled else None, settings.base_storage)
        lora = settings.lora
        add_lora(
            transformer,
            rank=lora.rank,
            alpha=lora.alpha or lora.rank,
            dropout=lora.dropout,
            targets=lora.targets,
            vace_blocks=lora.vace_blocks,
        )
        if decoupled:
            add_face_attention(transformer)
        keep_small(transformer, settings.base_storage, dtype)
        if settings.gradient_checkpointing:
            transformer.enable_gradient_checkpointing()
        self.transformer = transformer.train(self.training)  # for the dropout of the LoRA; the base has none

    def configure_optimizers(self) -> Any:
        """AdamW on mapper and LoRA, each at its own rate; cosine after a linear warm-up, per step."""
        settings = self.config.optimizer
        steps = optimiser_steps(self.trainer, self.datamodule.batches_per_epoch)
        groups = [
            {"params": [p for p in self.transformer.parameters() if p.requires_grad], "lr": settings.lr},
            {"params": list(self.mapper.parameters()), "lr": settings.mapper_lr},
        ]
        optimizer = _optimizer_class(settings.kind)(
            groups, betas=(settings.betas[0], settings.betas[1]), weight_decay=settings.weight_decay
        )
        schedule = WarmupCosine(optimizer, steps, settings.warmup, settings.final)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Make sure that the checkpoints find room."""
        one = checkpoint_bytes(sum(p.numel() for p in self.parameters() if p.requires_grad))
        for folder, count in checkpoints_to_come(self.trainer).items():
            tell_room(folder, count * one, f"{count} checkpoints", "paths.run")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Noise, draw back, compare, log."""
        settings, latents = self.config.loss, batch["latents"]
        shown = batch["own"] & (torch.rand(len(latents), device=self.device) >= settings.token_dropout)
        told = self.told(batch, shown)
        levels = draw_levels(len(latents), settings.shift, settings.density, self.device)
        noise = torch.randn_like(latents)
        mixed = noised(latents, noise, levels)
        with self._waiting():
            velocity = self._velocity(mixed, levels, told, batch["control"])
        target = self._target(batch, mixed, levels, noise - latents, shown)
        loss = flow_loss(
            velocity,
            target,
            levels,
            heads=batch["heads"],
            head_weight=settings.head_weight,
            weighting=settings.weighting,
            gamma=settings.gamma,
        )
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(latents))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure the loss at fixed noise levels; draw and judge the first clips."""
        losses = self._validation.losses(self, batch)
        self._validation.add(losses)
        if batch_idx < self.config.validation.videos:
            self._validation.draw(self, batch, self.datamodule)

    def on_validation_epoch_end(self) -> None:
        """Log the figures; those of the untrained adapter as `before/`."""
        figures = self._validation.take()
        if self.trainer.sanity_checking:
            self.provenance["before"] = figures
            for logger in self.trainer.loggers:
                logger.log_metrics({f"before/{name}": value for name, value in figures.items()}, step=0)
            return
        self.provenance["figures"] = figures
        self.log_dict({f"val/{name}": value for name, value in figures.items()}, rank_zero_only=True)

    def drawn(self) -> list[tuple[str, NDArray[np.uint8]]]:
        """Return name and frames of the videos drawn since the last time."""
        return self._validation.taken_videos()

    def overview(self) -> NDArray[np.uint8]:
        """Return a picture (H,W,3) RGB uint8 of the last drawn videos: some frames of poses, truth and each scale."""
        return self._validation.picture()

    def save_adapter(self, folder: Path) -> list[Path]:
        """Write what was learnt: the LoRA in two namings, the mapper, and everybody's profile."""
        learnt = person_of(self.transformer, self.mapper, self.provenance).save(folder)
        return [*learnt, *write_profiles(folder / "profiles", self.provenance)]

    def told(self, batch: Batch, face_scale: Tensor | float) -> dict[str, Any]:
        """Return the transformer's arguments for the words and faces of a batch; face_scale: one, or (N,)."""
        return conditioned(self.config.injection, batch["text"], self.mapper(batch["face"]), face_scale)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return mapper and LoRA; the base is named, not kept."""
        return {name: value for name, value in super().state_dict(*args, **kwargs).items() if _is_own(name)}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Take mapper and LoRA, loading the base where it is not yet."""
        self.configure_model()
        found = super().load_state_dict(state_dict, strict=False, assign=assign)
        missing = [name for name in found.missing_keys if _is_own(name)]
        if strict and (missing or found.unexpected_keys):
            raise RuntimeError(f"missing {missing[:3]}, unexpected {list(found.unexpected_keys)[:3]}")
        return found

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the module without any YAML."""
        checkpoint[RECORD] = describe(self.config, self.provenance)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember whose face it is; refuse another base.

        Raises:
            UserError: the base is not the one that mapper and LoRA were trained on.
        """
        self.provenance = checkpoint[RECORD]["provenance"]
        if self.provenance["base_hash"] != self.base.fingerprint:
            raise UserError(
                f"model.base={self.base.name}: is another base than this checkpoint's ({self.provenance['base']}, "
                f"{self.provenance['base_hash']}); give that one"
            )

    def _waiting(self) -> AbstractContextManager[Any]:
        """Let what is kept for the backward pass wait in the computer's memory, where that is asked for."""
        if self.config.offload == "none" or not torch.is_grad_enabled():
            return nullcontext()
        return save_on_cpu(pin_memory=self.device.type == "cuda")

    def _target(self, batch: Batch, mixed: Tensor, levels: Tensor, flow: Tensor, shown: Tensor) -> Tensor:
        """Where the tokens are left out, the base's own answer is the target: without them nothing may change."""
        silent = batch["own"] & ~shown
        if self.config.loss.prior_target == "base":
            silent = ~shown
        if not bool(silent.any()):
            return flow
        rows = silent.nonzero()[:, 0]
        with torch.no_grad(), without_lora(self.transformer):
            words = {"encoder_hidden_states": batch["text"][rows]}
            own = self._velocity(mixed[rows], levels[rows], words, batch["control"][rows])
        return flow.to(own.dtype).index_copy(0, rows, own)

    def _velocity(self, mixed: Tensor, levels: Tensor, told: dict[str, Any], control: Tensor) -> Tensor:
        dtype = self.transformer.dtype
        found: Tensor = self.transformer(
            hidden_states=mixed.to(dtype),
            timestep=levels * TIMESTEPS,
            encoder_hidden_states=told["encoder_hidden_states"].to(dtype),
            attention_kwargs=told.get("attention_kwargs"),
            control_hidden_states=control.to(dtype),
            return_dict=False,
        )[0]
        return found


def _is_own(name: str) -> bool:
    return name.startswith("mapper.") or ".lora_" in name or is_face_attention(name)


def _optimizer_class(kind: str) -> Any:
    if kind == "adamw":
        return torch.optim.AdamW
    try:
        from bitsandbytes.optim import AdamW8bit  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise UserError(
            "model.optimizer.kind=adamw_8bit: needs bitsandbytes and a CUDA GPU; pip install bitsandbytes, or use adamw"
        ) from None
    return AdamW8bit
