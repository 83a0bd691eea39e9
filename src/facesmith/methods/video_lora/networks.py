"""The networks that are trained for a face: a mapper of embeddings to tokens, and attention layers to these tokens."""

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

Injection = Literal["tail", "decoupled"]
Tensors = dict[str, Tensor]

TOKENS: Final = "face_tokens"
SCALE: Final = "face_scale"
_PART: Final = ".attn2.processor."


class FaceMapper(nn.Module):
    """Maps face embeddings to K tokens of the text encoder's width.

    Args:
        embedding_size: Numbers of a face embedding.
        widths: Widths of the hidden layers.
        tokens: K, the number of tokens.
        text_width: Width of a row of encoded text.
        dropout: Dropout after each hidden layer.
        token_norm: About what norm a token starts with: that of a row of text.
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
        """Map embeddings to tokens.

        Args:
            embeddings: (N,E), L2-normalised.

        Returns:
            (N,K,W).
        """
        unit_variance = embeddings * self.embedding_size**0.5
        tokens: Tensor = self.head(self.body(unit_variance))
        return tokens.view(-1, self.tokens, self.text_width)


def build_conditioning(injection: Injection, text: Tensor, tokens: Tensor, scale: Tensor | float) -> dict[str, Any]:
    """Build the transformer's arguments for words and a face.

    Args:
        injection: Where the transformer finds the face tokens.
        text: (N,L,W) encoded prompts.
        tokens: (N,K,W) face tokens.
        scale: Scale of the face tokens, one for all or (N,).

    Returns:
        `encoder_hidden_states`, and `attention_kwargs` where the face has an attention of its own. When all scales are
        0 the words are given alone, so that the base answers bit for bit.
    """
    scales = torch.as_tensor(scale, device=text.device, dtype=torch.float32).expand(len(text))
    if injection == "tail":
        return {"encoder_hidden_states": insert_face_tokens(text, scales[:, None, None] * tokens)}
    if not bool(scales.any()):
        return {"encoder_hidden_states": text}
    return {"encoder_hidden_states": text, "attention_kwargs": {TOKENS: tokens, SCALE: scales}}


def insert_face_tokens(text: Tensor, tokens: Tensor) -> Tensor:
    """Write face tokens over the last rows of encoded prompts, which are zero padding there.

    Args:
        text: (N,L,W) encoded prompts.
        tokens: (N,K,W) face tokens.

    Returns:
        (N,L,W). The first L-K rows are those of `text` bit for bit, so that tokens of zero give the text alone.
    """
    words = text[:, : text.shape[1] - tokens.shape[1]]
    return torch.cat([words, tokens.to(text)], 1)


class TextWithFace(NamedTuple):
    """Text and face tokens that blocks attend to, instead of plain text."""

    words: Tensor
    """(N,L,W) encoded prompts."""
    face: Tensor
    """(N,K,W) face tokens."""
    scale: Tensor
    """(N,) scale of each face."""


class FaceTransformer(WanVACETransformer3DModel):
    """The base's transformer, given a face by `attention_kwargs`: `face_tokens` (N,K,W) and `face_scale` (N,).

    Tokens travel with the words as an argument, never as state, so that gradient checkpointing computes them again as
    they were. Without tokens, and in the pipeline's unconditional pass, every layer does what the base's does.
    """

    _pass: str | None = None

    @contextmanager
    def cache_context(self, name: str, **kwargs: Any) -> Iterator[None]:
        """Remember which pass of the pipeline this is: `cond` or `uncond`."""
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
        """Run the base's forward pass, with the face beside the words.

        Args:
            hidden_states: (N,C,F,h,w) noisy latents.
            timestep: (N,) in 0..1000.
            encoder_hidden_states: (N,L,W) encoded prompts.
            *args: As of the base's class.
            attention_kwargs: `face_tokens` (N,K,W) and `face_scale` (N,), or nothing.
            **kwargs: As of the base's class.
        """
        given = dict(attention_kwargs or {})
        tokens, scale = given.pop(TOKENS, None), given.pop(SCALE, None)
        text: Any = encoder_hidden_states
        if tokens is not None and self._pass != "uncond":
            text = TextWithFace(encoder_hidden_states, tokens, scale)
        rest = {**kwargs, "attention_kwargs": given or None}
        return super().forward(hidden_states, timestep, text, *args, **rest)  # type: ignore[misc]


class FaceConditionEmbedder(WanTimeTextImageEmbedding):
    """The base's condition embedder; face tokens pass through the layers of the words.

    Args:
        own: The base's embedder, whose layers are taken over.
    """

    def __init__(self, own: WanTimeTextImageEmbedding) -> None:
        nn.Module.__init__(self)
        for name, layer in own.named_children():
            self.add_module(name, layer)
        self.image_embedder = own.image_embedder

    def forward(
        self, timestep: Tensor, encoder_hidden_states: Any, image: Tensor | None = None, seq_len: int | None = None
    ) -> Any:
        """Embed time, words and face.

        Args:
            timestep: As of diffusers' class.
            encoder_hidden_states: Plain text (N,L,W), or a `TextWithFace`.
            image: As of diffusers' class.
            seq_len: As of diffusers' class.

        Returns:
            As diffusers' class, the text in the form in which it came.
        """
        if not isinstance(encoder_hidden_states, TextWithFace):
            return super().forward(timestep, encoder_hidden_states, image, seq_len)
        words, face, scale = encoder_hidden_states
        time, projected, words, image = super().forward(timestep, words, image, seq_len)
        return time, projected, TextWithFace(words, self.text_embedder(face.to(words.dtype)), scale), image


class TextOnlyAttention(WanAttnProcessor):
    """Cross-attention of the VACE branch: to the words alone."""

    def __call__(self, attn: Any, hidden_states: Tensor, text: Any = None, *rest: Any) -> Any:
        """Attend to the words and ignore the face."""
        return super().__call__(attn, hidden_states, text.words if isinstance(text, TextWithFace) else text, *rest)


class FaceAttention(nn.Module, WanAttnProcessor):
    """Cross-attention to words and face: the queries are the same, the face's keys and values have their own layers.

    Keys start as those of the words, values at zero: untrained, nothing changes. As in IP-Adapter (arXiv 2308.06721).

    Args:
        attn: The block's cross-attention, whose key layer the face's starts as.
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

    def forward(self, attn: Any, hidden_states: Tensor, text: Any = None, *rest: Any) -> Any:
        """Attend to the words, and add `scale` times the attention to the face.

        Args:
            attn: The block's cross-attention.
            hidden_states: (N,tokens,D) of the video.
            text: Plain text (N,L,D), or a `TextWithFace`.
            *rest: As of diffusers' class.

        Returns:
            (N,tokens,D).
        """
        if not isinstance(text, TextWithFace):
            return WanAttnProcessor.__call__(self, attn, hidden_states, text, *rest)
        query = attn.norm_q(attn.to_q(hidden_states))
        words = self._attend(attn, query, attn.norm_k(attn.to_k(text.words)), attn.to_v(text.words))
        tokens = text.face.to(self.to_k.weight.dtype)
        face = self._attend(attn, query, attn.norm_k(self.to_k(tokens)).to(query.dtype), self.to_v(tokens).to(query))
        both = words + text.scale.to(words).view(-1, 1, 1) * face
        return attn.to_out[1](attn.to_out[0](both))

    def _attend(self, attn: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        queries, keys, values = (rows.view(*rows.shape[:2], attn.heads, -1) for rows in (query, key, value))
        found = dispatch_attention_fn(queries, keys, values, backend=self._attention_backend, parallel_config=None)
        return torch.as_tensor(found).flatten(2, 3).type_as(query)


def add_face_attention(transformer: Any, tensors: Tensors | None = None) -> None:
    """Add to every plain block a trainable `FaceAttention`.

    Args:
        transformer: A `FaceTransformer`, changed in place.
        tensors: Weights to load, as `extract_face_attention` returns them; None: untrained.
    """
    transformer.condition_embedder = FaceConditionEmbedder(transformer.condition_embedder)
    for block in transformer.vace_blocks:
        block.attn2.set_processor(TextOnlyAttention())  # type: ignore[no-untyped-call]
    for block in transformer.blocks:
        block.attn2.set_processor(FaceAttention(block.attn2))
    if tensors is not None:
        for number, block in enumerate(transformer.blocks):
            start = f"blocks.{number}{_PART}"
            own = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
            block.attn2.processor.load_state_dict(own)


def extract_face_attention(transformer: Any) -> Tensors | None:
    """Return the weights of all `FaceAttention` by name, on the CPU; None where there are none."""
    found = {
        name: value.detach().cpu().contiguous()
        for name, value in transformer.named_parameters()
        if is_face_attention(name)
    }
    return found or None


def is_face_attention(name: str) -> bool:
    """Return whether a parameter of the transformer belongs to a `FaceAttention`."""
    return _PART in name
