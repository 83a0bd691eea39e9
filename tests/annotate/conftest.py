"""A mask store of sixteen frames of the test sequence."""

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from facesmith.annotate.app import open_faces
from facesmith.annotate.config import AnnotateConfig
from facesmith.annotate.masks import MaskStore
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
    return open_faces(settings())


@pytest.fixture
def store(faces: FaceSet, tmp_path: Path) -> Iterator[MaskStore]:
    with MaskStore(faces, tmp_path / "masks", 0.35) as opened:
        yield opened


@pytest.fixture
def covered() -> Callable[[MaskStore, int, int], np.ndarray]:
    """Return a face's mask with a disc in front of it."""
    import cv2

    def covered(store: MaskStore, row: int, x: int) -> np.ndarray:
        mask = store.mask(row).copy()
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
