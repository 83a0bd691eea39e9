"""Small real media and face sets of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from small_media import EXTRACTION

from facesmith.faces.extraction import extract
from facesmith.faces.face_set import FaceSet
from facesmith.media.video import open_video


@pytest.fixture(scope="session")
def carphone_frames(asset: Callable[[str], Path]) -> list[np.ndarray]:
    """All 120 frames (144,176,3) RGB of the man in the car."""
    with open_video(asset("carphone_pristine.mp4")) as reader:
        return [frame for _, frame in reader.frames(range(120))]


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A public-domain portrait (512,512,3) RGB."""
    return np.asarray(skimage.data.astronaut())


@pytest.fixture(scope="session")
def carphone_set(asset: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> FaceSet:
    """The face set of every fourth frame of carphone."""
    root = tmp_path_factory.mktemp("carphone")
    return extract(asset("carphone_pristine.mp4"), root=root, **EXTRACTION)


@pytest.fixture(scope="session")
def two_people_set(two_people: Path, tmp_path_factory: pytest.TempPathFactory) -> FaceSet:
    """The face set of the man in that folder."""
    return extract(two_people, root=tmp_path_factory.mktemp("two_people_set"), **EXTRACTION)


@pytest.fixture(scope="session")
def two_people(
    carphone_frames: list[np.ndarray],
    astronaut: np.ndarray,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Nested folder: six pictures of a man, two of a woman, one of both, one of nobody, a text as .jpg."""
    folder = tmp_path_factory.mktemp("two_people")
    (folder / "more").mkdir()
    for i in range(6):
        Image.fromarray(carphone_frames[20 * i]).save(folder / f"man{i}.png")
    Image.fromarray(astronaut).save(folder / "woman0.jpg")
    Image.fromarray(astronaut[:300, 100:400]).save(folder / "more" / "woman1.jpg")
    man = np.asarray(Image.fromarray(carphone_frames[50]).resize((352, 288)))
    woman = np.asarray(Image.fromarray(astronaut).resize((288, 288)))
    Image.fromarray(np.concatenate([man, woman], axis=1)).save(folder / "more" / "both.png")
    Image.fromarray(np.full((90, 120, 3), 80, np.uint8)).save(folder / "nobody.png")
    (folder / "text.jpg").write_text("not a picture")
    return folder
