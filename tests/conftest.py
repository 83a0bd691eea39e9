"""Real assets for real tests."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def asset() -> Callable[[str], Path]:
    """Give the verified local path of a named asset."""
    from facesmith.assets import fetch

    return fetch
