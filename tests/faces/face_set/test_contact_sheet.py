from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesmith.faces.face_set.contact_sheet import (
    BORDER,
    GREEN,
    MARGIN,
    MOST,
    RED,
    THUMB,
    Thumbnail,
    write_contact_sheet,
)


@pytest.fixture
def crop(tmp_path: Path, astronaut: np.ndarray) -> Path:
    path = tmp_path / "crop.jpg"
    Image.fromarray(astronaut).save(path, quality=95)
    return path


def thumbnail(crop: Path, origin: str, reason: str | None, flaws: tuple[str | None, ...] = (None,) * 5) -> Thumbnail:
    landmarks = np.random.default_rng(0).uniform(0.2, 0.8, (478, 2))
    return Thumbnail(crop, origin, reason, flaws, landmarks)


def frames(sheet: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many thumbnails have a frame of this colour, from its area."""
    area = (THUMB + 2 * BORDER) ** 2 - THUMB**2
    return round(float((sheet == colour).all(-1).sum()) / area)


def test_contact_sheet_kept_green_rejected_red(tmp_path: Path, crop: Path, astronaut: np.ndarray) -> None:
    faces = [thumbnail(crop, "a 1", None)] * 5 + [thumbnail(crop, "b 2", "too small (11 < 32 px)")] * 3
    write_contact_sheet(tmp_path / "sheet.png", faces, "somebody: 5 of 8 faces kept")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert frames(sheet, GREEN) == 5
    assert frames(sheet, RED) == 3
    y, x = np.argwhere((sheet == GREEN).all(-1))[0] + BORDER
    thumb = np.asarray(Image.fromarray(astronaut).resize((THUMB, THUMB), Image.Resampling.LANCZOS), float)
    assert x == MARGIN
    assert np.abs(sheet[y : y + THUMB, x : x + THUMB] - thumb).mean() < 4


def test_contact_sheet_large_set_keeps_rejected_visible(tmp_path: Path, crop: Path) -> None:
    faces = [thumbnail(crop, str(i), None) for i in range(900)]
    faces += [thumbnail(crop, str(i), "no reason") for i in range(60)]
    write_contact_sheet(tmp_path / "sheet.png", faces, "many")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert frames(sheet, GREEN) == MOST - MOST // 4
    assert sheet.shape[0] < 3500


def test_contact_sheet_long_text_stays_in_cell(tmp_path: Path, crop: Path) -> None:
    face = thumbnail(crop, "a_very_long_file_name_without_any_space.jpeg", "word " * 60)
    write_contact_sheet(tmp_path / "sheet.png", [face], "one")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert (sheet[:, THUMB + 2 * MARGIN :][40:] == 250).all()
