"""Where the transformer finds the face: in the tail of the words, or in a cross-attention of its own."""

from typing import Any, Literal

import torch
from torch import Tensor

from facesmith.methods.video_lora.face_attention import SCALE, TOKENS
from facesmith.methods.video_lora.networks import with_face_tokens

Injection = Literal["tail", "decoupled"]


def conditioned(injection: Injection, text: Tensor, tokens: Tensor, scale: Tensor | float) -> dict[str, Any]:
    """Give the transformer's arguments for words (N,L,W) and face tokens (N,K,W) of which `scale`, one or (N,), counts.

    At a scale of 0 for all the words are given alone, so that the base answers bit for bit.
    """
    scales = torch.as_tensor(scale, device=text.device, dtype=torch.float32).expand(len(text))
    if injection == "tail":
        return {"encoder_hidden_states": with_face_tokens(text, scales[:, None, None] * tokens)}
    if not bool(scales.any()):
        return {"encoder_hidden_states": text}
    return {"encoder_hidden_states": text, "attention_kwargs": {TOKENS: tokens, SCALE: scales}}
