"""`VideoLoraModule`: a mapper and a LoRA trained beside a frozen Wan-VACE transformer."""

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.graph import save_on_cpu

from facesmith.errors import UserError
from facesmith.files import short_path
from facesmith.methods.video_lora.adapter_bundle import collect_bundle
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.block_execution import choose_attention, compile_blocks, detach_pose_branch
from facesmith.methods.video_lora.block_streaming import stream_blocks
from facesmith.methods.video_lora.config import VideoLoraModuleConfig
from facesmith.methods.video_lora.data import VideoLoraDataModule
from facesmith.methods.video_lora.dataset import Batch
from facesmith.methods.video_lora.flow_matching import TIMESTEPS, add_noise, flow_loss, sample_noise_levels
from facesmith.methods.video_lora.identities import write_profiles
from facesmith.methods.video_lora.lora import add_lora, without_lora
from facesmith.methods.video_lora.memory_check import (
    check_disk_space,
    count_checkpoints,
    describe_duration,
)
from facesmith.methods.video_lora.memory_estimate import ClipShape, checkpoint_bytes
from facesmith.methods.video_lora.networks import (
    FaceMapper,
    FaceTransformer,
    add_face_attention,
    build_conditioning,
    is_face_attention,
)
from facesmith.methods.video_lora.quantization import check_optimizer, compute_dtype, enable_storage_casting
from facesmith.methods.video_lora.validation import Validation
from facesmith.models.checkpoint import RECORD, checkpoint_record
from facesmith.training.callbacks.protocols import get_datamodule
from facesmith.training.distributed import own_rows
from facesmith.training.run.checkpoint_files import FINAL_CHECKPOINTS, first_made
from facesmith.training.schedule import count_optimizer_steps, with_warmup_cosine
from facesmith.training.sharding import shard_blocks

log = logging.getLogger(__name__)


class VideoLoraModule(LightningModule):
    """Trains a base on a person's face: the mapper's tokens encode the face, the LoRA learns to generate it.

    Checkpoints hold the mapper and the LoRA alone, and name the base they belong to.

    Args:
        config: Of the model, its loss, optimiser and validation.

    Raises:
        UserError: there is no such base.
    """

    transformer: Any
    shards_weights = True
    """`trainer=fsdp` can spread the weights over the devices."""

    def __init__(self, config: VideoLoraModuleConfig) -> None:
        super().__init__()
        self.config = config
        self.base = open_base(config.base)
        mapper, validation = config.mapper, config.validation
        self.mapper = FaceMapper(
            mapper.embedding_size,
            mapper.widths,
            mapper.tokens,
            self.base.text_width,
            mapper.dropout,
            mapper.token_norm,
        ).requires_grad_(config.gate_tokens)
        self.transformer = None
        self.provenance: dict[str, Any] = {}
        self._validation = Validation(
            self.base,
            quantiles=validation.quantiles,
            shift=config.loss.shift,
            steps=validation.steps,
            cfg_scale=validation.cfg_scale,
            face_scales=config.face_scales,
            vace_scale=validation.vace_scale,
            references=validation.references,
            seed=validation.seed,
        )

    @property
    def datamodule(self) -> VideoLoraDataModule:
        """The trainer's data module; never stored, or copies of the module would copy it."""
        data = get_datamodule(self.trainer)
        assert isinstance(data, VideoLoraDataModule)
        return data

    def setup(self, stage: str) -> None:
        """Take over the provenance of the data."""
        if stage != "fit":
            return
        self.provenance = {
            **self.datamodule.provenance(),
            "base": self.base.name,
            "base_hash": self.base.fingerprint,
            "injection": self.config.injection,
            "gate_tokens": self.config.gate_tokens,
        }

    def configure_model(self) -> None:
        """Load the base and add the adapter; only now, when the encoders of the data are gone."""
        if self.transformer is not None:
            return
        settings = self.config
        if self.device_mesh is not None and settings.base_storage != "as_computed":
            raise UserError(
                f"model.base_storage={settings.base_storage}: trainer=fsdp spreads weights as they are computed "
                "with; set model.base_storage=as_computed"
            )
        if self.device_mesh is not None and settings.stream_blocks:
            raise UserError("model.stream_blocks=true: trainer=fsdp already spreads the blocks; set one of the two")
        dtype = compute_dtype(settings.base_dtype)
        decoupled = settings.injection == "decoupled"
        transformer = self.base.load_transformer(dtype, FaceTransformer if decoupled else None, settings.base_storage)
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
        enable_storage_casting(transformer, settings.base_storage, dtype)
        if settings.gradient_checkpointing:
            transformer.enable_gradient_checkpointing()
        if settings.stream_blocks:
            stream_blocks(transformer)
        if not settings.pose_branch_gradients:
            detach_pose_branch(transformer)
        choose_attention(transformer, settings.attention)
        if settings.compile:
            compile_blocks(transformer)
        self.transformer = transformer.train(self.training)  # for the dropout of the LoRA; the base has none
        if self.device_mesh is not None:
            shard_blocks(transformer, (*transformer.blocks, *transformer.vace_blocks), self.device_mesh.device_type)
            shard_blocks(self.mapper, (), self.device_mesh.device_type)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build AdamW on LoRA and mapper, each with its own learning rate; linear warm-up and cosine, per step."""
        settings = self.config.optimizer
        steps = count_optimizer_steps(self.trainer, self.datamodule.batches_per_epoch)
        groups = [
            {"params": [p for p in self.transformer.parameters() if p.requires_grad], "lr": settings.lr},
            {"params": [p for p in self.mapper.parameters() if p.requires_grad], "lr": settings.mapper_lr},
        ]
        optimizer = _optimizer_class(settings.kind)(
            groups, betas=(settings.betas[0], settings.betas[1]), weight_decay=settings.weight_decay
        )
        return with_warmup_cosine(optimizer, steps, settings)

    def on_fit_start(self) -> None:
        """Check that the disk has room for the checkpoints; log how long the training takes on a common GPU."""
        size = checkpoint_bytes(sum(p.numel() for p in self.parameters() if p.requires_grad))
        for folder, count in count_checkpoints(self.trainer).items():
            check_disk_space(folder, count * size, f"{count} checkpoints", "paths.run")
        data = self.datamodule.config
        shape = ClipShape(data.num_frames, data.height, data.width, data.batch_size)
        steps = count_optimizer_steps(self.trainer, self.datamodule.batches_per_epoch)
        checkpointing = self.config.gradient_checkpointing
        log.info("%s", describe_duration(self.base, shape, checkpointing=checkpointing, steps=steps))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Add noise to clips, predict the flow with the transformer, and compute the loss.

        Args:
            batch: Of the data module: latents, control, text, face, heads, prior, and references where there are any.
            batch_idx: Of Lightning.

        Returns:
            The loss.
        """
        settings, latents, heads = self.config.loss, batch["latents"], batch["heads"]
        references = batch.get("references")
        dropout = settings.token_dropout if references is None else settings.photos_alone
        with_face = ~batch["prior"] & (torch.rand(len(latents), device=self.device) >= dropout)
        has_face = with_face
        if references is not None:
            latents = torch.cat([references, latents], 2)
            heads = torch.cat([heads.new_zeros(*heads.shape[:2], references.shape[2], *heads.shape[3:]), heads], 2)
        if references is not None or not self.config.gate_tokens:
            has_face = ~batch["prior"]  # photos, or the LoRA alone, show the face, with tokens or without
        levels = sample_noise_levels(len(latents), settings.shift, settings.density, self.device)
        noise = torch.randn_like(latents)
        as_base = ~has_face if settings.prior_target == "base" else ~batch["prior"] & ~has_face
        # All of this was drawn for the whole batch, alike in every process; each goes on with rows of its own.
        batch, latents, heads = own_rows(batch), own_rows(latents), own_rows(heads)
        levels, noise = own_rows(levels), own_rows(noise)
        conditioning = self.conditioning(batch, own_rows(with_face))
        noisy = add_noise(latents, noise, levels)
        with self._offload_activations():
            velocity = self.velocity(noisy, levels, conditioning, batch["control"])
        loss = flow_loss(
            velocity,
            self._target(batch, noisy, levels, noise - latents, as_base),
            levels,
            heads=heads,
            head_weight=settings.head_weight,
            weighting=settings.weighting,
            gamma=settings.gamma,
        )
        several = self.trainer.world_size > 1
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(latents), sync_dist=several)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the clips of a validation that was interrupted."""
        self._validation.pop_metrics()
        self._validation.pop_videos()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure the loss at fixed noise levels; generate and evaluate the first clips."""
        self._validation.add_losses(self, batch)
        if batch_idx < self.config.validation.videos:
            data = self.datamodule
            clip = data.validation_clip(int(batch["index"]))
            self._validation.add_videos(self, batch, clip, data.negative, data.evaluator)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics; those of the untrained adapter as `before/`."""
        metrics = self.trainer.strategy.broadcast(self._validation.pop_metrics())  # all choose the same best checkpoint
        if self.trainer.sanity_checking:
            self.provenance["before"] = metrics
            for logger in self.trainer.loggers:
                logger.log_metrics({f"before/{name}": value for name, value in metrics.items()}, step=0)
        else:
            self.provenance["figures"] = metrics
        self.log_dict({f"val/{name}": value for name, value in metrics.items()})

    def pop_videos(self) -> list[tuple[str, NDArray[np.uint8]]]:
        """Return name and frames (T,H,W,3) RGB uint8 of the videos generated since the last call."""
        return self._validation.pop_videos()

    def overview(self) -> NDArray[np.uint8]:
        """Return some frames (H,W,3) RGB uint8 of the last videos: poses, truth, and a row for each face scale."""
        return self._validation.overview()

    def next_commands(self, run: str) -> list[str]:
        """Return how to generate clips as validation does, to the poses trained on where they have their own folder."""
        poses = self.datamodule.config.poses
        made = first_made(Path(self.trainer.default_root_dir), "exports", *FINAL_CHECKPOINTS)
        model, source = quote(f"model={run}/{made}"), quote(f"source={short_path(poses) if poses else 'poses/'}")
        measured = self.config.validation  # the likeness that was told holds for these
        settings = f"steps={measured.steps} cfg_scale={measured.cfg_scale:g} face_scale=1.0"
        command = f"facesmith infer task=generate {model} {source} output=generated {settings}"
        return [command] if made else []

    def save_adapter(self, folder: Path) -> list[Path]:
        """Write the LoRA in two namings, the mapper, and everybody's profile.

        Args:
            folder: Where they go.

        Returns:
            The files.
        """
        files = collect_bundle(self.transformer, self.mapper, self.provenance).save(folder)
        return [*files, *write_profiles(folder / "profiles", self.provenance)]

    def conditioning(self, batch: Batch, face_scale: Tensor | float) -> dict[str, Any]:
        """Build the transformer's arguments for the words and faces of a batch.

        Args:
            batch: `text` (N,L,W) and `face` (N,E).
            face_scale: Scale of the face tokens, one for all or (N,); without tokens it means nothing.
        """
        if not self.config.gate_tokens:
            return {"encoder_hidden_states": batch["text"]}
        return build_conditioning(self.config.injection, batch["text"], self.mapper(batch["face"]), face_scale)

    def velocity(self, noisy: Tensor, levels: Tensor, conditioning: dict[str, Any], control: Tensor) -> Tensor:
        """Predict the velocity with the adapted transformer.

        Args:
            noisy: (N,C,F,h,w) latents mixed with noise.
            levels: (N,) noise levels in 0..1.
            conditioning: From `conditioning`.
            control: (N,_,F,h,w) of VACE.

        Returns:
            (N,C,F,h,w), what the transformer takes noise minus latents to be.
        """
        dtype = self.transformer.dtype
        found: Tensor = self.transformer(
            hidden_states=noisy.to(dtype),
            timestep=levels * TIMESTEPS,
            encoder_hidden_states=conditioning["encoder_hidden_states"].to(dtype),
            attention_kwargs=conditioning.get("attention_kwargs"),
            control_hidden_states=control.to(dtype),
            return_dict=False,
        )[0]
        return found

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return mapper and LoRA; the base is named, not kept."""
        return {name: value for name, value in super().state_dict(*args, **kwargs).items() if _is_trained(name)}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load mapper and LoRA, and the base where it is not loaded yet.

        Args:
            state_dict: Of `state_dict`, which leaves the base out.
            strict: Whether every tensor of mapper and LoRA must be there, and no other.
            assign: Whether the tensors take the place of the module's; else they are copied into them.

        Returns:
            The names that are missing, those of the base among them, and those that are unexpected.

        Raises:
            RuntimeError: `strict`, and names are missing or unexpected.
        """
        self.configure_model()
        found = super().load_state_dict(state_dict, strict=False, assign=assign)
        missing = [name for name in found.missing_keys if _is_trained(name)]
        if strict and (missing or found.unexpected_keys):
            raise RuntimeError(f"missing {missing[:3]}, unexpected {list(found.unexpected_keys)[:3]}")
        return found

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the module without any YAML."""
        checkpoint[RECORD] = checkpoint_record(self.config, self.provenance)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the provenance.

        Raises:
            UserError: the base is not the one that mapper and LoRA were trained on.
        """
        self.provenance = checkpoint[RECORD]["provenance"]
        if self.provenance["base_hash"] != self.base.fingerprint:
            raise UserError(
                f"model.base={self.base.name}: is another base than this checkpoint's ({self.provenance['base']}, "
                f"{self.provenance['base_hash']}); give that one"
            )

    def _offload_activations(self) -> AbstractContextManager[Any]:
        """Move activations for the backward pass to CPU memory, if configured."""
        if self.config.offload == "none" or not torch.is_grad_enabled():
            return nullcontext()
        return save_on_cpu(pin_memory=self.device.type == "cuda")

    def _target(self, batch: Batch, noisy: Tensor, levels: Tensor, flow: Tensor, as_base: Tensor) -> Tensor:
        """Return the flow, or where there are no face tokens the base's own answer: without them nothing may change.

        Args:
            batch: This process's rows, as the tensors that follow.
            noisy: (N,C,F,h,w).
            levels: (N,).
            flow: (N,C,F,h,w).
            as_base: Of the whole batch, bool: which rows are the base's. Where there is one, every process asks the
                base, with its first row if need be: sharded weights are gathered by all processes together.
        """
        if not bool(as_base.any()):
            return flow
        rows = own_rows(as_base).nonzero()[:, 0]
        asked = rows if len(rows) else rows.new_zeros(1)
        with torch.no_grad(), without_lora(self.transformer):
            words = {"encoder_hidden_states": batch["text"][asked]}
            own = self.velocity(noisy[asked], levels[asked], words, batch["control"][asked])
        return flow.to(own.dtype).index_copy(0, rows, own[: len(rows)])


def _is_trained(name: str) -> bool:
    return name.startswith("mapper.") or ".lora_" in name or is_face_attention(name)


def _optimizer_class(kind: str) -> type[torch.optim.AdamW]:
    if kind == "adamw":
        return torch.optim.AdamW
    check_optimizer(kind)
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit  # type: ignore[no-any-return,unused-ignore]
