"""Profiles of people who gave no photos."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.profiles.profile import IdentityProfile


def made_profile(id: str, embedding_mean: NDArray[np.float32], **more: Any) -> IdentityProfile:
    """Make a profile around an embedding (D,). more: what is to differ."""
    plain: dict[str, Any] = {"name": id.title(), "embedder": "sface", "num_frames": 3}
    plain |= {"face_set": "key2", "consent": "self"}
    std = np.zeros_like(embedding_mean)
    return IdentityProfile.create(id=id, embedding_mean=embedding_mean, embedding_std=std, **{**plain, **more})
