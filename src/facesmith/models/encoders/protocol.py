"""What is asked of a face encoder."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class FaceEncoder(Protocol):
    """Something that embeds aligned faces. name: with its weights, so that two encoders are never mixed."""

    name: str
    embedding_size: int

    def __call__(self, crops: NDArray[np.uint8]) -> Tensor:
        """Give (N,E), L2-normalised, of crops (N,512,512,3) RGB uint8 on the template ffhq_512."""
        ...
