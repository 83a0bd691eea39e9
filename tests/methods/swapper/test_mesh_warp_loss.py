"""The loss of mesh_warp: light alone, and no more of it than is trusted."""

import pytest
import torch
from torch import Tensor

from facesmith.methods.swapper.losses import MeshWarpLoss
from facesmith.models.swapper.colour import from_opponent
from facesmith.models.swapper.generator import SwapOutput

SIZE = 64
ONE = torch.ones(1, 1, SIZE, SIZE)
TRUTH = torch.full((1, 3, SIZE, SIZE), 0.2)


def loss(correction: float, trust: float, pattern: Tensor | float = 0.0) -> float:
    """Return the loss where the face is .4 too light before it is corrected."""
    learned = torch.zeros(1, 3, SIZE, SIZE)
    learned[:, 0] = correction
    face = TRUTH + 0.4 + from_opponent(learned) + pattern
    output = SwapOutput(face, ONE, {"learned": learned})
    return float(MeshWarpLoss(cells=8, trust=trust)(output, {"truth": TRUTH, "hull": ONE}, 0.0)["loss"])


@pytest.mark.parametrize("trust", [0.5, 1.0])
def test_mesh_warp_loss_is_zero_where_the_trusted_share_is_corrected(trust: float) -> None:
    assert loss(-0.4 * trust, trust) == pytest.approx(0, abs=1e-6)
    assert loss(0, trust) > 0.01
    assert loss(-0.8 * trust, trust) > 0.01


def test_mesh_warp_loss_of_detail_within_cells_is_zero() -> None:
    checkers = torch.ones(SIZE, SIZE)
    checkers[::2, ::2] = checkers[1::2, 1::2] = -1
    assert loss(-0.2, 0.5, pattern=0.3 * (checkers - checkers.mean())) == pytest.approx(0, abs=1e-6)
