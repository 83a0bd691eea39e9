"""Sixteen frames of the test sequence on a desk."""

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from facesmith.annotate.app import faces_of
from facesmith.annotate.config import AnnotateConfig
from facesmith.annotate.masks import Desk
from facesmith.cli.composition import load_config
from facesmith.faces.face_set.face_set import FaceSet

Settings = Callable[..., AnnotateConfig]


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Compose conf/annotate.yaml for the test sequence; face sets are shared by the session."""
    face_sets = tmp_path_factory.mktemp("face_sets")
    sequence = ["data.source=asset:carphone_pristine.mp4", "data.name=carphone", "data.consent=licensed"]

    def settings(*overrides: str, source: tuple[str, ...] = tuple(sequence)) -> AnnotateConfig:
        small = ["data.max_frames=16", "data.progress=false", f"paths.face_sets={face_sets}", "open_browser=false"]
        return load_config("annotate", AnnotateConfig, [*source, *small, *overrides])

    return settings


@pytest.fixture(scope="session")
def faces(settings: Settings) -> FaceSet:
    return faces_of(settings())


@pytest.fixture
def desk(faces: FaceSet, tmp_path: Path) -> Iterator[Desk]:
    with Desk(faces, tmp_path / "masks", 0.35) as opened:
        yield opened


@pytest.fixture
def covered() -> Callable[[Desk, int, int], np.ndarray]:
    """Return a face's mask with a disc in front of it."""
    import cv2

    def covered(desk: Desk, row: int, x: int) -> np.ndarray:
        mask = desk.mask(row).copy()
        cv2.circle(mask, (x, 300), 50, 0, -1)
        return mask

    return covered


@pytest.fixture
def no_file_above() -> Callable[[int], AbstractContextManager[None]]:
    """Let no file grow beyond so many bytes: the system refuses to write, as on a full disk."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited
