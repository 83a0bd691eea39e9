"""Encoded prompts as the transformer reads them: rows of words, then zeros, the last of which are the face's."""

from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch import Tensor

from facesmith.errors import UserError
from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.cache import Cache
from facesmith.methods.video_lora.memory_check import check_disk_space, place_text_encoder
from facesmith.progress import track


def cache_prompts(base: Base, cache: Cache, prompts: list[str], length: int, tokens: int, progress: bool) -> list[Path]:
    """Encode the prompts that the cache lacks.

    Args:
        base: Whose text encoder encodes.
        cache: Of all runs.
        prompts: In any order, repeated or not.
        length: Rows of a prompt as the transformer gets it.
        tokens: How many of these rows are face tokens.
        progress: Whether a bar is shown.

    Returns:
        Each prompt's entry: `rows` (n,W).

    Raises:
        UserError: a prompt leaves no room for the face tokens, or memory or disk do not suffice.
    """
    paths = [cache.path("texts", prompt=prompt, length=length, encoder=base.text_fingerprint) for prompt in prompts]
    todo = {paths[number]: prompts[number] for number in cache.missing(paths)}
    if todo:
        device, dtype = place_text_encoder(base)
        check_disk_space(cache.folder, len(todo) * 4.0 * length * base.text_width, f"{len(todo)} prompts", "data.cache")
        tokenizer, encoder = base.load_tokenizer(), base.load_text_encoder(dtype).to(device)
        for path in track(list(todo), "prompts", shown=progress, transient=True):
            about = {"prompt": todo[path], "computed_with": str(dtype)}
            cache.write(path, {"rows": _encode(tokenizer, encoder, todo[path], length)}, about)
    for path, prompt in zip(paths, prompts, strict=True):
        check_prompt_length(prompt, len(cache.read(path)["rows"]), length, tokens)
    return paths


def encode_prompts(base: Base, prompts: list[str], length: int, tokens: int) -> dict[str, Tensor]:
    """Encode prompts; the text encoder is gone afterwards.

    Args:
        base: Whose text encoder encodes.
        prompts: All different.
        length: L, rows of a prompt as the transformer gets it.
        tokens: How many of these rows are face tokens.

    Returns:
        Each prompt's rows (1,L,W) float32 on the CPU.

    Raises:
        UserError: a prompt leaves no room for the face tokens, or memory does not suffice.
    """
    tokenizer = base.load_tokenizer()
    for prompt in prompts:
        rows = len(tokenizer([prompt_clean(prompt)]).input_ids[0])
        check_prompt_length(prompt, rows, length, tokens)
    device, dtype = place_text_encoder(base)
    encoder = base.load_text_encoder(dtype).to(device)
    return {prompt: pad_rows(_encode(tokenizer, encoder, prompt, length), length)[None] for prompt in prompts}


def check_prompt_length(prompt: str, rows: int, length: int, tokens: int) -> None:
    """Check that a prompt leaves room for the face tokens.

    Args:
        prompt: For the error.
        rows: Of the prompt itself.
        length: Rows of a prompt as the transformer gets it.
        tokens: How many of these rows are face tokens.

    Raises:
        UserError: it does not.
    """
    if rows > length - tokens:
        raise UserError(
            f"prompt '{prompt[:60]}': has {rows} tokens, {length - tokens} fit beside {tokens} face tokens; shorten it"
        )


def pad_rows(rows: Tensor, length: int) -> Tensor:
    """Add rows of zeros.

    Args:
        rows: (n,W).
        length: L, rows in all.

    Returns:
        (L,W).
    """
    return torch.cat([rows, rows.new_zeros(length - len(rows), rows.shape[1])])


def _encode(tokenizer: Any, encoder: Any, prompt: str, length: int) -> Tensor:
    """Return a prompt's own rows (n,W), computed beside the padding as diffusers' pipeline does."""
    found = tokenizer(
        [prompt_clean(prompt)],
        padding="max_length",
        max_length=length,
        add_special_tokens=True,
        return_attention_mask=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        inputs = found.to(encoder.device)
        states: Tensor = encoder(inputs.input_ids, inputs.attention_mask).last_hidden_state
    return states[0, : int(found.attention_mask.sum())].float().cpu()
