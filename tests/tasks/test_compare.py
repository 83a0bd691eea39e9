import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.files import file_sha256
from facesmith.media.images import read_image, write_image
from facesmith.media.verification import verify_provenance
from facesmith.tasks.compare.config import CompareTaskConfig
from facesmith.tasks.compare.sheet import MARGIN, TITLE
from facesmith.tasks.compare.task import CompareTask, name_frame

from ..made_profiles import made_profile

CELL = 256


def analyzer() -> MediaPipeAnalyzer:
    return MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.7)


def profile(path):
    mean = np.eye(128, dtype=np.float32)[0]
    made_profile("disc", mean, name="disc", num_frames=1, face_set="", consent="synthetic").save(path)


def compare(settings) -> None:
    config = CompareTaskConfig(target_="facesmith.tasks.compare.task.CompareTask", **settings)
    CompareTask(config, analyzer=analyzer, progress=False).run()


def test_compare_task_draws_models_side_by_side(swapper_file, tmp_path, capsys):
    other = tmp_path / "other.onnx"
    other.write_bytes(swapper_file.read_bytes())
    write_image(tmp_path / "scenes" / "a.png", astronaut(), mark=None)
    write_image(tmp_path / "scenes" / "wall.png", np.full((99, 99, 3), 99, np.uint8), mark=None)
    profile(tmp_path / "profiles" / "disc.json")
    settings = {"model": [swapper_file, other], "source": str(tmp_path / "scenes"), "output": tmp_path / "sheet.png"}
    settings |= {"profile": None, "reference": tmp_path / "scenes" / "a.png", "source_photo": None, "consent": None}
    settings |= {"converter": None, "raw_length": 22.0, "frames": 2, "quality": 95, "face_sets": tmp_path / "none"}
    settings |= {
        "profiles": tmp_path / "profiles",
        "backend": "pyav",
        "select": "largest",
        "width": CELL,
        "occluder": None,
    }
    compare(settings)
    picture = read_image(tmp_path / "sheet.png")
    assert picture.shape[1] == MARGIN + 4 * (CELL + MARGIN)
    columns = [picture[TITLE + 60 : TITLE + 200, MARGIN + i * (CELL + MARGIN) :][:, 60:200] for i in range(4)]
    magenta = [float(((c[..., 0] > 200) & (c[..., 1] < 60) & (c[..., 2] > 200)).mean()) for c in columns]
    assert magenta[:2] == [0, 0]
    assert min(magenta[2:]) > 0.2
    mark = verify_provenance(tmp_path / "sheet.png").mark
    assert (mark.identity, mark.model_hash) == ("disc", f"{file_sha256(swapper_file)},{file_sha256(other)}")
    printed = capsys.readouterr().out
    assert "skipped: wall.png: no face found" in printed
    assert printed.count("a.png  ") == 2

    with pytest.raises(UserError, match=r"is disc, and there is no .*give task.profile"):
        compare(settings | {"profiles": tmp_path / "nowhere"})
    with pytest.raises(UserError, match="no face found in any scene"):
        compare(settings | {"source": str(tmp_path / "scenes" / "wall.png")})


def test_compare_task_select_all_swaps_and_shows_every_face(swapper_file, tmp_path):
    write_image(tmp_path / "two.png", np.hstack([astronaut(), astronaut()]), mark=None)
    profile(tmp_path / "profiles" / "disc.json")
    settings = {"model": swapper_file, "source": str(tmp_path / "two.png"), "output": tmp_path / "sheet.png"}
    settings |= {"profile": None, "reference": tmp_path / "two.png", "source_photo": None, "consent": None}
    settings |= {"converter": None, "raw_length": 22.0, "frames": 2, "quality": 95, "face_sets": tmp_path / "none"}
    settings |= {"profiles": tmp_path / "profiles", "backend": "pyav", "select": "all", "width": 512, "occluder": None}
    compare(settings)
    swap = read_image(tmp_path / "sheet.png")[TITLE : TITLE + 140, MARGIN + 2 * (512 + MARGIN) :][:, :512]
    magenta = (swap[..., 0] > 200) & (swap[..., 1] < 60) & (swap[..., 2] > 200)
    assert min(magenta[:, :256].sum(), magenta[:, 256:].sum()) > 500


def test_name_frame_says_minutes_and_seconds():
    assert [name_frame("a.mp4", seconds) for seconds in (0.0, 12.5, 59.97, 754.04)] == [
        "a.mp4 0:00.0",
        "a.mp4 0:12.5",
        "a.mp4 1:00.0",
        "a.mp4 12:34.0",
    ]
