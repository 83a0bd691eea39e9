"""Files of the wrong kind, and names that nothing has, are refused in a line before anything heavy is loaded."""

import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from facesmith.cli.main import main
from facesmith.media.images import write_image

from ..small_media import write_video

SWAP = ("infer", "task=swap", "model=ada.onnx", "source=a.png", "output=swapped.png")
MASK = ("infer", "task=mask", "source=a.png", "output=mask.png")
COMPARE = ("infer", "task=compare", "model=[ada.onnx,ada.onnx]", "source=a.png", "output=sheet.png")
EMBED = ("infer", "task=embed", "source=a.png", "task.name=ada", "task.consent=self")
VALIDATE = ("infer", "task=validate", "source=a.png", "task.profile=ada.json", "output=report")
GENERATE = ("infer", "task=generate", "model=run", "source=scene.mp4", "output=dances")
EXPORT = ("export", "ckpt_path=run/checkpoints/last.ckpt", "to=facesmith")
IDENTITY = ("train", "experiment=identity", "data.source=a.png", "data.name=ada", "data.consent=self")
PRETRAIN = ("train", "experiment=identity_pretrain", "data.source=people", "data.name=all", "data.consent=self")
SWAP_LORA = ("train", "experiment=swap_lora", "model.base=run", "data.target=scene.mp4", "data.consent=self")
DANCES = ("data.faces=a.png", "data.videos=.", "data.poses=.", "data.name=ada", "data.consent=self")
VIDEO_LORA = ("train", "experiment=video_lora", *DANCES)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[object]:
    """Lay real files into the working folder; commands end where torch would be imported, and are noted."""
    begun: list[object] = []
    for name in ("train", "infer", "export"):
        module = ModuleType(f"facesmith.cli.{name}")
        setattr(module, name, begun.append)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    for folder in ("run/exports", "run/checkpoints", "empty", "people/ada", "people/ben", "people/cleo"):
        Path(folder).mkdir(parents=True)
    picture = np.zeros((32, 32, 3), np.uint8)
    write_image(Path("a.png"), picture, mark=None)
    write_video(Path("scene.mp4"), [picture] * 2)
    for file in ("ada.onnx", "run/exports/ada.onnx", "ada.json"):
        Path(file).write_bytes(b"{}")
    Path("cut.ckpt").write_bytes(b"PK\x03\x04 and then no more")
    with zipfile.ZipFile("run/checkpoints/last.ckpt", "w") as archive:
        archive.writestr("last/data.pkl", b"")
    return begun


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ((*SWAP, "model=empty"), "task.model=empty: is a folder; give a file that ends with .onnx, .dfm or .ckpt"),
        ((*SWAP, "model=run"), "task.model=run: is a folder; give a file, such as run/exports/ada.onnx"),
        ((*SWAP, "model=scene.mp4"), "task.model=scene.mp4: must end with .onnx, .dfm or .ckpt"),
        ((*SWAP, "model=cut.ckpt"), "task.model=cut.ckpt: is no checkpoint, or a damaged one; give a file of a run's"),
        ((*SWAP, "profile=a.png"), "task.profile=a.png: must end with .json"),
        ((*SWAP, "occluder=run"), "task.occluder=run: is a folder; give a file, such as run/exports/ada.onnx"),
        ((*SWAP, "source_photo=empty"), "task.source_photo=empty: is a folder; give a file"),
        ((*SWAP, "enhancer=none.onnx"), "enhancer=none.onnx: there is no such file or folder"),
        ((*SWAP, "output=x.txt"), "output=x.txt: unknown suffix for this image; choose one of .png"),
        ((*SWAP, "output=x.mp4"), "output=x.mp4: unknown suffix for this image; choose one of .png"),
        ((*SWAP, "source=people", "output=x.png"), "output=x.png: is a file name, but the source may hold several"),
        (
            (*SWAP, "source=scene.mp4", "output=x.mp4", "task.codec=ffv1"),
            "output=x.mp4: .mp4 cannot hold this codec; choose one of .mkv",
        ),
        ((*MASK, "output=x.txt"), "output=x.txt: unknown suffix for this image; choose one of .png"),
        ((*COMPARE, "output=x.txt"), "task.output=x.txt: must end with .png, .jpg, .jpeg, .webp, .tif, .tiff or .avif"),
        ((*COMPARE, "model=[ada.onnx,empty]"), "task.model.1=empty: is a folder; give a file"),
        ((*COMPARE, "model=empty"), "task.model=empty: is a folder; give a file"),
        ((*EMBED, "output=x.txt"), "task.output=x.txt: must end with .json"),
        ((*VALIDATE, "output=report.html"), "task.output=report.html: is the folder of the files that are written"),
        ((*VALIDATE, "output=ada.json"), "task.output=ada.json: is a file; give a folder"),
        ((*GENERATE, "model=ada.onnx"), "task.model=ada.onnx: must be a folder or end with .ckpt"),
        ((*EXPORT, "ckpt_path=scene.mp4"), "ckpt_path=scene.mp4: is no checkpoint, or a damaged one"),
        (
            (*EXPORT, "ckpt_path=run"),
            "ckpt_path=run: is a folder; give a checkpoint, such as run/checkpoints/last.ckpt",
        ),
        ((*IDENTITY, "model.init_from=scene.mp4"), "model.init_from=scene.mp4: is no checkpoint, or a damaged one"),
        ((*IDENTITY, "data.holdout=[scene]"), "data.holdout=[scene]: names targets, but data.targets is not given"),
        (
            (*IDENTITY, "data.targets=[scene.mp4,asset:astronaut.png]", "data.holdout=[stage]"),
            "data.holdout: no target is called stage; there are astronaut, scene",
        ),
        (
            (*IDENTITY, "data.targets=scene.mp4", "data.holdout=[scene]"),
            "data.holdout: holds out every target; leave at least one to train on",
        ),
        ((*PRETRAIN, "data.holdout=[dora]"), "data.holdout: no folder is called dora; there are ada, ben, cleo"),
        ((*PRETRAIN, "data.holdout=[ada,ben]"), "data.holdout: leaves fewer than two people to train on"),
        (
            (*SWAP_LORA, "model.base=scene.mp4"),
            "model.base=scene.mp4: must be a folder or end with .onnx, .dfm or .ckp",
        ),
        ((*VIDEO_LORA, "data.holdout=[foo]"), "data.holdout: no video is called foo; there are scene"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_a_file_of_the_wrong_kind_is_refused_before_anything_is_loaded(
    started: list[object], capsys: pytest.CaptureFixture[str], given: tuple[str, ...], line: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(list(given))
    assert (end.value.code, started) == (1, [])
    assert capsys.readouterr().err.startswith(f"error: {line}")


@pytest.mark.parametrize(
    "given",
    [
        SWAP,
        (*SWAP, "model=run/checkpoints/last.ckpt", "profile=ada.json"),
        (*SWAP, "source=scene.mp4", "output=x.mkv", "task.codec=ffv1"),
        (*SWAP, "source=people", "output=swapped"),
        COMPARE,
        GENERATE,
        EXPORT,
        (*IDENTITY, "data.targets=[scene.mp4,asset:astronaut.png]", "data.holdout=[scene]"),
        (*PRETRAIN, "data.holdout=[ada]"),
        SWAP_LORA,
        (*VIDEO_LORA, "data.holdout=[scene]"),
    ],
    ids=" ".join,
)
def test_files_of_the_right_kind_start(started: list[object], given: tuple[str, ...]) -> None:
    main(list(given))
    assert len(started) == 1
