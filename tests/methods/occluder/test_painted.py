"""Painted masks win over the outline, and what is wrong with one is told by name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesmith.errors import UserError
from facesmith.methods.occluder.data import OccluderDataModule
from facesmith.methods.occluder.labels import PaintedMasks, label_faces


def write(folder: Path, name: str, mask: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.png"
    Image.fromarray(mask).save(path)
    return path


def name_of(data: OccluderDataModule, row: int) -> str:
    return Path(data.faces.crop_name(row)).stem


@pytest.fixture
def half() -> np.ndarray:
    mask = np.zeros((512, 512), np.uint8)
    mask[:, :256] = 255
    return mask


def test_label_faces_painted_mask_replaces_outline(data: OccluderDataModule, tmp_path: Path, half: np.ndarray) -> None:
    write(tmp_path / "masks", name_of(data, 1), half)
    (tmp_path / "masks/.half_written.tmp.png").write_bytes(b"what a painter that was killed leaves")
    masks = PaintedMasks(tmp_path / "masks", data.faces)
    assert len(masks) == 1
    assert masks.get(0) is None
    assert np.array_equal(masks.get(1), half)
    rows = np.array([0, 1])
    painted = label_faces(data.faces, rows, "ffhq_512", 64, 0.35, tmp_path / "masks").masks
    outlines = label_faces(data.faces, rows, "ffhq_512", 64, 0.35, None).masks
    assert np.array_equal(painted[0], outlines[0])
    wanted = np.asarray(Image.fromarray(half).resize((64, 64), Image.Resampling.BILINEAR))
    assert (np.abs(painted[1].astype(int) - wanted) < 128).mean() > 0.96


def test_painted_masks_bad_file_is_named(data: OccluderDataModule, tmp_path: Path, half: np.ndarray) -> None:
    name = name_of(data, 0)
    with pytest.raises(UserError, match=r"data\.masks=.*no such folder"):
        PaintedMasks(tmp_path / "none", data.faces)
    write(tmp_path / "strange", "nobody", half)
    with pytest.raises(UserError, match=r"nobody\.png: belongs to no face"):
        PaintedMasks(tmp_path / "strange", data.faces)
    small = write(tmp_path / "small", name, half[::2, ::2])
    with pytest.raises(UserError, match=rf"{small.name}: has 256x256 px, its crop 512x512"):
        PaintedMasks(small.parent, data.faces).get(0)
    grey = write(tmp_path / "grey", name, np.full((512, 512), 90, np.uint8))
    with pytest.raises(UserError, match="neither black nor white"):
        PaintedMasks(grey.parent, data.faces).get(0)
    cut = write(tmp_path / "cut", name, half)
    cut.write_bytes(cut.read_bytes()[:80])
    with pytest.raises(UserError, match="cannot be read"):
        PaintedMasks(cut.parent, data.faces).get(0)
