"""Whether the right person is found in a gallery by a swapped face."""

import numpy as np
from numpy.typing import NDArray


def retrieval_rank(similarities: NDArray[np.floating], person: int) -> int:
    """Return the place of a person among all people of a gallery, 1 for the most similar.

    Who is as similar as the person comes before: a recogniser that tells nobody apart finds nobody.

    Args:
        similarities: (G,) of the swapped face to each person of the gallery, higher is more similar.
        person: Number of the person who was put on.
    """
    others = np.delete(similarities, person)
    return 1 + int((others >= similarities[person]).sum())
