"""Drawing a person's videos with diffusers' own pipeline."""

from collections.abc import Callable
from dataclasses import dataclass
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
from facesmith.video_lora.adapter import NAME, set_lora_scale
from facesmith.video_lora.base import Base
from facesmith.video_lora.face_attention import FaceTransformer, add_face_attention
from facesmith.video_lora.injection import conditioned
from facesmith.video_lora.lora_files import PREFIX
from facesmith.video_lora.memory import compute_dtype
from facesmith.video_lora.person import Person
from facesmith.video_lora.texts import fits

Scheduler = Literal["base", "unipc", "euler", "dpm"]
Offload = Literal["none", "model", "sequential"]
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

    scheduler: `base` for the base's own. offload: what waits in the computer's memory instead of the GPU's.
    embedding: another face for the mapper than the person's, (E,).

    Raises:
        UserError: the person was trained on another base, or the embedding does not fit the mapper.
    """

    def __init__(
        self, base: Base, person: Person, *, scheduler: Scheduler, offload: Offload, embedding: Tensor | None = None
    ) -> None:
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
        pipe: Any = WanVACEPipeline(  # type: ignore[no-untyped-call]
            tokenizer=base.tokenizer(),
            text_encoder=base.text_encoder(dtype),
            vae=base.codec(),
            transformer=base.transformer(dtype, FaceTransformer if person.attention is not None else None),
            scheduler=scheduled(base.scheduler(), scheduler),
        )
        pipe.set_progress_bar_config(disable=True)
        put_on(pipe.transformer, person)
        gpu = torch.cuda.is_available()
        if offload != "none" and not gpu:
            raise UserError(f"offload={offload}: there is no GPU whose memory it could spare; use none")
        if offload == "model":
            pipe.enable_model_cpu_offload()
        elif offload == "sequential":
            pipe.enable_sequential_cpu_offload()
        elif gpu:
            pipe.to("cuda")
        self._pipe = pipe
        self._texts: dict[str, Tensor] = {}

    def draw(self, poses: Frames, wish: Wish, seed: int, progress: Callable[[], None] | None = None) -> Frames:
        """Draw (T,H,W,3) RGB uint8 to pose frames of that shape; T is one more than a multiple of 4.

        progress is called after every step.
        """
        set_lora_scale(self._pipe.transformer, wish.lora_scale)
        text = self._text(wish.prompt)
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
            negative_prompt_embeds=self._text(wish.negative_prompt) if wish.cfg_scale > 1 else None,
            generator=torch.Generator().manual_seed(seed),
            output_type="np",
            callback_on_step_end=stepped,
        ).frames[0]
        return np.asarray(np.rint(np.clip(drawn, 0, 1) * 255), np.uint8)

    def _text(self, prompt: str) -> Tensor:
        if prompt not in self._texts:
            length, tokens = int(self.person.facts["text_length"]), self.person.mapper.tokens
            found = self._pipe.tokenizer([prompt]).input_ids[0]
            fits(prompt, len(found), length, tokens)
            self._texts[prompt] = self._pipe.encode_prompt(prompt, None, False, max_sequence_length=length)[0]
        return self._texts[prompt]


def scheduled(own: Any, name: Scheduler) -> Any:
    """Give the sampler of a name with the base's own noise schedule."""
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
