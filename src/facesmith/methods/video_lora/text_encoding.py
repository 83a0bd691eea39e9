"""Prompts as the transformer reads them: rows of words, then zeros, of which the last are the face's."""

from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch import Tensor

from facesmith.errors import UserError
from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.cache import Cache, missing, tracked
from facesmith.methods.video_lora.dataset import padded
from facesmith.methods.video_lora.memory_check import tell_room, text_encoder_place


def cached_texts(base: Base, cache: Cache, prompts: list[str], length: int, tokens: int, progress: bool) -> list[Path]:
    """Encode prompts that the cache lacks, and give each one's entry, `rows` (n,W).

    length: rows of a prompt as the transformer gets it. tokens: how many of them are the face's.

    Raises:
        UserError: a prompt leaves no room for the face tokens.
    """
    paths = [cache.path("texts", prompt=prompt, length=length, encoder=base.text_fingerprint) for prompt in prompts]
    todo = {paths[number]: prompts[number] for number in missing(cache, paths)}
    if todo:
        device, dtype = text_encoder_place(base)
        tell_room(cache.folder, len(todo) * 4.0 * length * base.text_width, f"{len(todo)} prompts", "data.cache")
        tokenizer, encoder = base.tokenizer(), base.text_encoder(dtype).to(device)
        for path in tracked(list(todo), "prompts", progress):
            about = {"prompt": todo[path], "computed_with": str(dtype)}
            cache.write(path, {"rows": _rows(tokenizer, encoder, todo[path], length)}, about)
    for path, prompt in zip(paths, prompts, strict=True):
        fits(prompt, len(cache.read(path)["rows"]), length, tokens)
    return paths


def fits(prompt: str, rows: int, length: int, tokens: int) -> None:
    """Make sure that a prompt leaves room for the face tokens.

    Raises:
        UserError: it does not.
    """
    if rows > length - tokens:
        raise UserError(
            f"prompt '{prompt[:60]}': has {rows} tokens, {length - tokens} fit beside {tokens} face tokens; shorten it"
        )


def encoded_texts(base: Base, prompts: list[str], length: int, tokens: int) -> dict[str, Tensor]:
    """Return each prompt's rows (1,L,W) as the transformer gets them; the text encoder is gone afterwards.

    Raises:
        UserError: a prompt leaves no room for the face tokens.
    """
    tokenizer = base.tokenizer()
    for prompt in prompts:
        fits(prompt, len(tokenizer([prompt_clean(prompt)]).input_ids[0]), length, tokens)  # type: ignore[no-untyped-call]
    device, dtype = text_encoder_place(base)
    encoder = base.text_encoder(dtype).to(device)
    return {prompt: padded(_rows(tokenizer, encoder, prompt, length), length)[None] for prompt in prompts}


def _rows(tokenizer: Any, encoder: Any, prompt: str, length: int) -> Tensor:
    """Return a prompt's own rows (n,W), computed as diffusers' pipeline does: in the company of the padding."""
    found = tokenizer(
        [prompt_clean(prompt)],  # type: ignore[no-untyped-call]
        padding="max_length",
        max_length=length,
        add_special_tokens=True,
        return_attention_mask=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        read = found.to(encoder.device)
        states: Tensor = encoder(read.input_ids, read.attention_mask).last_hidden_state
    return states[0, : int(found.attention_mask.sum())].float().cpu()
