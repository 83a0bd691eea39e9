"""The mapper: a face embedding in, face tokens among the words out."""

from collections.abc import Sequence
from itertools import pairwise

import torch
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
