"""The scripts of benchmarks/, and published weights' files with random values."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="session", autouse=True)
def _scripts() -> Iterator[None]:
    """Let tests import the scripts, as they import each other."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as the authors publish them, but Inception's, with random values."""
    from reference_networks import COSFACE, DDFA, HOPENET, CosFace, Ddfa, HopeNet

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(CosFace().state_dict(), folder / COSFACE)
    hopenet, ddfa = (_make_sensitive(network) for network in (HopeNet(), Ddfa()))
    torch.save(hopenet.state_dict(), folder / HOPENET)
    tensors = {f"module.{name}": value for name, value in ddfa.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": tensors}, folder / DDFA)
    return folder


def _make_sensitive(network: nn.Module) -> nn.Module:
    """Normalise a network by noise, or what pictures differ by vanishes in its layers."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(4, 3, 120, 120))
    return network.eval()
