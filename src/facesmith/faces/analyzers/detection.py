"""What a face detector says, before landmarks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Detection:
    """box: (4,) left, top, right, bottom px. five: (5, 2) px in the templates' order. score: 0..1."""

    box: npt.NDArray[np.float32]
    five: npt.NDArray[np.float32]
    score: float

    @property
    def side(self) -> float:
        """The longer side of the box in px."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))
