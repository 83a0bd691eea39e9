"""Opening the painter: from a face set or media; what cannot be opened is one clear line."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesmith.annotate.app import open_mask_store
from facesmith.annotate.config import AnnotateConfig
from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet

Settings = Callable[..., AnnotateConfig]


def test_open_mask_store_face_set_puts_masks_beside_it(settings: Settings, faces: FaceSet) -> None:
    config = settings(f"faces={faces.path}", source=())
    assert config.data is None
    with open_mask_store(config) as store:
        assert len(store) == len(faces)
        assert store.folder == faces.path.parent / "masks"  # purged with the person
        assert store.folder.stat().st_mode & 0o777 == 0o700


def test_open_mask_store_pictures_without_face_warn_or_error(
    settings: Settings, faces: FaceSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(faces.crop(0)).save(folder / "a.png")
    Image.fromarray(np.full((256, 256, 3), 90, np.uint8)).save(folder / "b.png")
    source = (f"data.source={folder}", "data.name=some", "data.consent=licensed")
    with caplog.at_level(logging.WARNING), open_mask_store(settings(source=source)) as store:
        assert len(store) == 1
    assert "Skipped 1 of 2 pictures: no face" in caplog.text
    with pytest.raises(UserError, match=r"b\.png: no face in frame 0"):
        open_mask_store(settings("without_face=error", source=source))


def test_open_mask_store_mistakes_in_one_line(settings: Settings, faces: FaceSet, tmp_path: Path) -> None:
    for given, said in (
        ([f"faces={faces.path}"], "faces: is given beside data.source"),
        (["import_from=a", "export_to=b", "format=coco"], "import_from: is given beside export_to"),
        (["export_to=a.json"], "format: choose coco"),
        (["port=80"], "port=80: must be greater"),
    ):
        with pytest.raises(UserError, match=said):
            settings(*given)
    with pytest.raises(UserError, match="is not a face set"):
        open_mask_store(settings(f"faces={tmp_path}", source=()))
    with pytest.raises(UserError, match="holds no checkpoint"):
        open_mask_store(settings(f"masks={tmp_path / 'masks'}", f"occluder={tmp_path}"))


def test_annotate_help_imports_neither_torch_nor_gradio(tmp_path: Path) -> None:
    program = (
        "import runpy, sys\n"
        "try:\n"
        "    runpy.run_module('facesmith.annotate', run_name='__main__', alter_sys=True)\n"
        "finally:\n"
        "    if {'torch', 'gradio', 'mediapipe'} & set(sys.modules): sys.exit(99)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run([*command, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "facesmith annotate" in done.stdout
    done = subprocess.run([*command, "data.sorce=x"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: data.sorce: no such key; did you mean data.source?" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
