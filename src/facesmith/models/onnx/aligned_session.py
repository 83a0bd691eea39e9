"""A swapper of aligned crops, whatever file it came from."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from facesmith.models.onnx.contract import SwapperContract

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Run = Callable[[Pixels, Floats | None], tuple[Pixels, Floats]]


class SwapModel:
    """A swapper ready for use; may be called from several threads.

    template, size: of the crops. run: from crops and source, as `__call__` takes them, to what it gives.
    embedder, embedding_size: of the identity it is told, None when that is baked in or comes as a photo.
    photo: template and size of that photo. identity, consent, consent_note: of the face baked in, else empty.
    contract: what a file of facesmith says of itself.
    """

    def __init__(
        self,
        template: str,
        size: int,
        run: Run,
        *,
        embedder: str = "",
        embedding_size: int | None = None,
        photo: tuple[str, int] | None = None,
        identity: str = "",
        consent: str = "",
        consent_note: str = "",
        contract: SwapperContract | None = None,
    ) -> None:
        self.template, self.size, self._run = template, size, run
        self.embedder, self.embedding_size, self.photo = embedder, embedding_size, photo
        self.identity, self.consent, self.consent_note = identity, consent, consent_note
        self.contract = contract

    @property
    def baked(self) -> bool:
        """Whether its identity lies inside it, so that it takes no source."""
        return self.embedding_size is None and self.photo is None

    def __call__(self, crops: Pixels, source: Floats | None = None) -> tuple[Pixels, Floats]:
        """Swap aligned faces.

        crops: (N,S,S,3) RGB uint8 on `template`. source: an embedding (E,) or (N,E), L2-normalised, or a photo
        (3,P,P) RGB 0..1; None exactly when the model is `baked`. Gives the finished crops, like `crops`, and
        (N,S,S) float32 in 0..1: what of them was changed. Raises ValueError on other shapes.
        """
        side = self.size
        if crops.ndim != 4 or crops.shape[1:] != (side, side, 3) or crops.dtype != np.uint8:
            raise ValueError(f"crops are {crops.dtype} {crops.shape}, not uint8 (N, {side}, {side}, 3)")
        if (source is None) != self.baked:
            raise ValueError(f"source is {'missing' if source is None else 'not taken'}: see baked")
        return self._run(crops, source)


def finished(output: npt.NDArray[np.floating]) -> Pixels:
    """Give (N,S,S,3) uint8 of (N,3,S,S) 0..255."""
    picture = np.clip(np.rint(output), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(picture.transpose(0, 2, 3, 1))
