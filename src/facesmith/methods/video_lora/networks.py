"""The mapper: a face embedding in, face tokens among the words out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

import torch
from diffusers import WanVACETransformer3DModel
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_wan import WanAttnProcessor, WanTimeTextImageEmbedding
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn


class FaceMapper(nn.Module):
    """Turn face embeddings into K tokens of the text encoder's width.

    widths: of the hidden layers. dropout: after each of them. token_norm: about what norm a token starts with, that of
    a text row. Embeddings come L2-normalised and are brought to a mean square of 1.
    """

    def __init__(
        self,
        embedding_size: int,
        widths: Sequence[int],
        tokens: int,
        text_width: int,
        dropout: float,
        token_norm: float = 12.0,
    ) -> None:
        super().__init__()
        self.embedding_size, self.tokens, self.text_width = embedding_size, tokens, text_width
        self.shape = {
            "embedding_size": embedding_size,
            "widths": list(widths),
            "tokens": tokens,
            "text_width": text_width,
            "dropout": dropout,
            "token_norm": token_norm,
        }
        sizes = [embedding_size, *widths]
        layers: list[nn.Module] = []
        for size, width in pairwise(sizes):
            layers += [nn.Linear(size, width), nn.GELU(), nn.Dropout(dropout)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(sizes[-1], tokens * text_width)
        # A GELU layer of unit-variance input has a mean square of about .12 with torch's default weights.
        nn.init.normal_(self.head.weight, std=token_norm / (text_width * sizes[-1] * 0.12) ** 0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, embeddings: Tensor) -> Tensor:
        """(N,E) L2-normalised embeddings to (N,K,W) tokens."""
        tokens: Tensor = self.head(self.body(embeddings * self.embedding_size**0.5))
        return tokens.view(-1, self.tokens, self.text_width)


def with_face_tokens(text: Tensor, tokens: Tensor) -> Tensor:
    """Write (N,K,W) tokens over the last K rows of (N,L,W) text embeddings, which are zero padding there.

    The rest is left as it is, bit for bit, so that tokens of zero give the text alone.
    """
    head = text[:, : text.shape[1] - tokens.shape[1]]
    return torch.cat([head, tokens.to(text)], 1)


Tensors = dict[str, Tensor]

TOKENS: Final = "face_tokens"
SCALE: Final = "face_scale"
_PART: Final = ".attn2.processor."


class FaceText(NamedTuple):
    """What blocks attend to: words (N,L,W), face tokens (N,K,W), and how much the face of each counts (N,)."""

    words: Tensor
    face: Tensor
    scale: Tensor


class FaceTransformer(WanVACETransformer3DModel):
    """The base, told of a face by `attention_kwargs`: `face_tokens` (N,K,W) and `face_scale` (N,).

    Tokens travel with the words as an argument, never as state, so that gradient checkpointing computes them again as
    they were. Without tokens, and in the pipeline's unconditional pass, every layer does what the base's does.
    """

    _pass: str | None = None

    @contextmanager
    def cache_context(self, name: str, **kwargs: Any) -> Iterator[None]:
        """Learn from the pipeline which pass this is."""
        self._pass = name
        try:
            with super().cache_context(name, **kwargs):  # type: ignore[misc]
                yield
        finally:
            self._pass = None

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        *args: Any,
        attention_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """As the base's, with the face beside the words."""
        given = dict(attention_kwargs or {})
        tokens, scale = given.pop(TOKENS, None), given.pop(SCALE, None)
        read: Any = encoder_hidden_states
        if tokens is not None and self._pass != "uncond":
            read = FaceText(encoder_hidden_states, tokens, scale)
        rest = {**kwargs, "attention_kwargs": given or None}
        return super().forward(hidden_states, timestep, read, *args, **rest)  # type: ignore[misc]


class FaceConditionEmbedder(WanTimeTextImageEmbedding):
    """The base's own layers; face tokens pass through those of the words."""

    def __init__(self, own: WanTimeTextImageEmbedding) -> None:
        nn.Module.__init__(self)
        for name, layer in own.named_children():
            self.add_module(name, layer)
        self.image_embedder = own.image_embedder

    def forward(
        self, timestep: Tensor, encoder_hidden_states: Any, image: Tensor | None = None, seq_len: int | None = None
    ) -> Any:
        """Embed time, words and face."""
        if not isinstance(encoder_hidden_states, FaceText):
            return super().forward(timestep, encoder_hidden_states, image, seq_len)
        words, face, scale = encoder_hidden_states
        time, projected, words, image = super().forward(timestep, words, image, seq_len)
        return time, projected, FaceText(words, self.text_embedder(face.to(words.dtype)), scale), image


class WordsAttention(WanAttnProcessor):
    """Cross-attention of the VACE branch: to the words alone."""

    def __call__(self, attn: Any, hidden_states: Tensor, read: Any = None, *rest: Any) -> Any:
        """Attend."""
        return super().__call__(attn, hidden_states, read.words if isinstance(read, FaceText) else read, *rest)


class FaceAttention(nn.Module, WanAttnProcessor):
    """Cross-attention to words and face: the queries are the same, the face's keys and values have their own layers.

    Keys start as those of the words, values at zero: untrained, nothing changes.
    """

    def __init__(self, attn: Any) -> None:
        super().__init__()
        own = attn.to_k.base_layer if hasattr(attn.to_k, "base_layer") else attn.to_k
        device = own.weight.device
        self.to_k = nn.Linear(own.in_features, own.out_features, device=device)
        self.to_v = nn.Linear(own.in_features, own.out_features, bias=False, device=device)
        with torch.no_grad():
            self.to_k.weight.copy_(dequantize_module_weight(own))
            self.to_k.bias.copy_(own.bias)
            self.to_v.weight.zero_()

    def forward(self, attn: Any, hidden_states: Tensor, read: Any = None, *rest: Any) -> Any:
        """Attend to the words, and add `scale` times what the face says."""
        if not isinstance(read, FaceText):
            return WanAttnProcessor.__call__(self, attn, hidden_states, read, *rest)
        query = attn.norm_q(attn.to_q(hidden_states))
        words = self._attended(attn, query, attn.norm_k(attn.to_k(read.words)), attn.to_v(read.words))
        seen = read.face.to(self.to_k.weight.dtype)
        face = self._attended(attn, query, attn.norm_k(self.to_k(seen)).to(query.dtype), self.to_v(seen).to(query))
        both = words + read.scale.to(words).view(-1, 1, 1) * face
        return attn.to_out[1](attn.to_out[0](both))

    def _attended(self, attn: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        asked, keys, values = (rows.view(*rows.shape[:2], attn.heads, -1) for rows in (query, key, value))
        found = dispatch_attention_fn(asked, keys, values, backend=self._attention_backend, parallel_config=None)
        return torch.as_tensor(found).flatten(2, 3).type_as(query)


def add_face_attention(transformer: Any, tensors: Tensors | None = None) -> None:
    """Return every plain block a `FaceAttention`, trainable. tensors: of `face_attention_of`, to be taken over."""
    transformer.condition_embedder = FaceConditionEmbedder(transformer.condition_embedder)
    for block in transformer.vace_blocks:
        block.attn2.set_processor(WordsAttention())  # type: ignore[no-untyped-call]
    for block in transformer.blocks:
        block.attn2.set_processor(FaceAttention(block.attn2))
    if tensors is not None:
        for number, block in enumerate(transformer.blocks):
            start = f"blocks.{number}{_PART}"
            own = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
            block.attn2.processor.load_state_dict(own)


def is_face_attention(name: str) -> bool:
    """Say whether a parameter of the transformer belongs to a `FaceAttention`."""
    return _PART in name


def face_attention_of(transformer: Any) -> Tensors | None:
    """Return the layers of the face by name, on the CPU; None where there are none."""
    found = {
        name: value.detach().cpu().contiguous()
        for name, value in transformer.named_parameters()
        if is_face_attention(name)
    }
    return found or None


Injection = Literal["tail", "decoupled"]


def conditioned(injection: Injection, text: Tensor, tokens: Tensor, scale: Tensor | float) -> dict[str, Any]:
    """Return transformer's arguments for words (N,L,W) and face tokens (N,K,W) of which `scale`, one or (N,), counts.

    At a scale of 0 for all the words are given alone, so that the base answers bit for bit.
    """
    scales = torch.as_tensor(scale, device=text.device, dtype=torch.float32).expand(len(text))
    if injection == "tail":
        return {"encoder_hidden_states": with_face_tokens(text, scales[:, None, None] * tokens)}
    if not bool(scales.any()):
        return {"encoder_hidden_states": text}
    return {"encoder_hidden_states": text, "attention_kwargs": {TOKENS: tokens, SCALE: scales}}
