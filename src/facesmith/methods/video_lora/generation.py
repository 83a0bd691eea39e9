"""Drawing a person's videos with diffusers' own pipeline."""

from collections.abc import Callable
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import numpy as np
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanVACEPipeline,
)
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from facesmith.errors import UserError
from facesmith.methods.video_lora.adapter_bundle import Person
from facesmith.methods.video_lora.base import Base, Storage, keep_small
from facesmith.methods.video_lora.lora import NAME, PREFIX, set_lora_scale
from facesmith.methods.video_lora.memory_check import Offload, compute_dtype
from facesmith.methods.video_lora.networks import FaceTransformer, add_face_attention, conditioned
from facesmith.methods.video_lora.text_encoding import encoded_texts

Scheduler = Literal["base", "unipc", "euler", "dpm"]
Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Wish:
    """What is drawn and how. face_scale: of the face tokens. lora_scale: of the adapter. vace_scale: of the poses."""

    prompt: str
    negative_prompt: str
    face_scale: float
    lora_scale: float
    vace_scale: float
    cfg_scale: float
    steps: int


class VideoGenerator:
    """The pipeline of a base with a person's LoRA and mapper.

    scheduler: `base` for the base's own. offload: what waits outside the GPU's memory: whole networks (model), the
    transformer's blocks (group), its layers (sequential), or blocks in files of the system's temporary folder (disk),
    which spares the computer's memory too. storage: of the transformer's weights. embedding: another face for the
    mapper than the person's, (E,).

    Raises:
        UserError: the person was trained on another base, the embedding does not fit the mapper, or this computer
            cannot offload or store weights so.
    """

    def __init__(
        self,
        base: Base,
        person: Person,
        *,
        scheduler: Scheduler,
        offload: Offload,
        storage: Storage = "as_computed",
        embedding: Tensor | None = None,
    ) -> None:
        gpu = torch.cuda.is_available()
        if offload not in ("none", "disk") and not gpu:
            raise UserError(f"offload={offload}: there is no GPU whose memory it could spare; use none or disk")
        if offload in ("group", "disk") and storage in ("int8", "nf4"):
            raise UserError(f"offload={offload}: cannot move weights of base_storage={storage}; use float8, or model")
        if person.facts["base_hash"] != base.fingerprint:
            raise UserError(
                f"model.base={base.name}: is not the base that {person.facts['identity']} was trained on "
                f"({person.facts['base']}, {person.facts['base_hash']}); give that one as task.base"
            )
        self.base, self.person = base, person
        self.embedding = person.embedding if embedding is None else embedding
        if len(self.embedding) != person.mapper.embedding_size:
            raise UserError(
                f"embedding: has {len(self.embedding)} numbers, the mapper takes {person.mapper.embedding_size}; make "
                f"it with the encoder {person.facts['encoder']}"
            )
        dtype = compute_dtype("auto")
        kind = FaceTransformer if person.attention is not None else None
        pipe: Any = WanVACEPipeline(  # type: ignore[no-untyped-call]
            tokenizer=None,  # words are read before, so that their encoder is gone
            text_encoder=None,
            vae=base.codec(),
            transformer=base.transformer(dtype, kind, storage),
            scheduler=scheduled(base.scheduler(), scheduler),
        )
        pipe.set_progress_bar_config(disable=True)
        put_on(pipe.transformer, person)
        keep_small(pipe.transformer, storage, dtype)
        self._pipe, self._dtype = pipe, dtype
        self._texts: dict[str, Tensor] = {}
        self._blocks = TemporaryDirectory(prefix="facesmith-") if offload == "disk" else None
        self._place(offload, gpu)

    def draw(self, poses: Frames, wish: Wish, seed: int, progress: Callable[[], None] | None = None) -> Frames:
        """Draw (T,H,W,3) RGB uint8 to pose frames of that shape; T is one more than a multiple of 4.

        progress is called after every step.
        """
        set_lora_scale(self._pipe.transformer, wish.lora_scale)
        self._encode([wish.prompt, wish.negative_prompt] if wish.cfg_scale > 1 else [wish.prompt])
        text = self._texts[wish.prompt]
        with torch.no_grad():
            tokens = self.person.mapper(self.embedding[None]).to(text)
        told = conditioned(self.person.injection, text, tokens, wish.face_scale)

        def stepped(pipe: Any, step: int, moment: Any, values: dict[str, Any]) -> dict[str, Any]:
            if progress is not None:
                progress()
            return values

        drawn = self._pipe(
            video=[Image.fromarray(frame) for frame in poses],
            height=poses.shape[1],
            width=poses.shape[2],
            num_frames=len(poses),
            num_inference_steps=wish.steps,
            guidance_scale=wish.cfg_scale,
            conditioning_scale=wish.vace_scale,
            prompt_embeds=told["encoder_hidden_states"],
            attention_kwargs=told.get("attention_kwargs"),
            negative_prompt_embeds=self._texts[wish.negative_prompt] if wish.cfg_scale > 1 else None,
            generator=torch.Generator().manual_seed(seed),
            output_type="np",
            callback_on_step_end=stepped,
        ).frames[0]
        return np.asarray(np.rint(np.clip(drawn, 0, 1) * 255), np.uint8)

    def _place(self, offload: Offload, gpu: bool) -> None:
        """Put the networks where they work, or wait."""
        pipe, device = self._pipe, torch.device("cuda" if gpu else "cpu")
        if offload == "model":
            pipe.enable_model_cpu_offload()
        elif offload == "sequential":
            pipe.enable_sequential_cpu_offload()
        elif offload in ("group", "disk"):
            pipe.vae.to(device)
            pipe.transformer.enable_group_offload(
                onload_device=device,
                offload_device=torch.device("cpu"),
                offload_type="block_level",
                num_blocks_per_group=1,
                use_stream=gpu,
                offload_to_disk_path=self._blocks.name if self._blocks else None,
            )
        else:
            pipe.to(device)

    def _encode(self, prompts: list[str]) -> None:
        """Read prompts that were not read yet."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._texts]
        if new:
            length, tokens = int(self.person.facts["text_length"]), self.person.mapper.tokens
            rows = encoded_texts(self.base, new, length, tokens)
            self._texts.update({prompt: text.to(self._dtype) for prompt, text in rows.items()})


def scheduled(own: Any, name: Scheduler) -> Any:
    """Return the sampler of a name with the base's own noise schedule."""
    if name == "base":
        return own
    shift = own.config.get("flow_shift") or own.config.get("shift") or 1.0
    if name == "euler":
        return FlowMatchEulerDiscreteScheduler(shift=shift)  # type: ignore[no-untyped-call]
    kind: Any = {"unipc": UniPCMultistepScheduler, "dpm": DPMSolverMultistepScheduler}[name]
    return kind(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)


def put_on(transformer: Any, person: Person) -> None:
    """Lay the person's LoRA over the transformer, and give it the layers of the face where there are."""
    transformer.load_lora_adapter(
        person.lora, prefix=PREFIX.rstrip("."), adapter_name=NAME, metadata=_loadable(person.lora_config)
    )
    if person.attention is not None:
        add_face_attention(transformer, person.attention)


_TAKEN: Final = ("r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern", "lora_dropout", "use_rslora")


def _loadable(config: dict[str, Any]) -> dict[str, Any]:
    return {f"{PREFIX}{key}": config[key] for key in _TAKEN if key in config}
