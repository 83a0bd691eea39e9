import json
import re

import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.images import write_image
from facesmith.media.provenance import Mark
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.tasks.engine.local import LOCAL
from facesmith.tasks.validate.config import ValidateTaskConfig
from facesmith.tasks.validate.frames import choose_segments
from facesmith.tasks.validate.task import ValidateTask

from .test_engine import FarAway

MARK = Mark(identity="man", consent="licensed", model_hash=None, title="test")


def analyzer() -> MediaPipeAnalyzer:
    return MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.7)


@pytest.fixture(scope="module")
def places(tmp_path_factory, asset):
    """Ten frames of the man as they are, the same trembling, and the man's profile and portrait."""
    root = tmp_path_factory.mktemp("validate")
    with open_video(asset("carphone_pristine.mp4")) as reader:
        frames = [np.repeat(np.repeat(frame, 2, 0), 2, 1) for _, frame in reader.frames(range(10))]
    rng = np.random.default_rng(0)
    with (
        VideoWriter(root / "still.mp4", mark=MARK, crf=10) as still,
        VideoWriter(root / "trembling.mp4", mark=MARK, crf=10) as trembling,
    ):
        for frame in frames:
            still.write(frame)
            trembling.write(np.roll(frame, tuple(rng.integers(-3, 4, 2)), (0, 1)))
    write_image(root / "man.png", frames[5], mark=MARK)
    write_image(root / "woman.png", astronaut(), mark=None)
    write_image(root / "wall.png", np.full((240, 320, 3), 120, np.uint8), mark=None)
    with_man = analyzer()
    faces = [with_man(frame)[0].embedding for frame in frames[::3]]
    with_man.close()
    IdentityProfile.create(
        id="man",
        embedder="sface",
        embedding_mean=np.mean(faces, 0),
        embedding_std=np.std(faces, 0),
        num_frames=len(faces),
        face_set="0" * 64,
        consent="licensed",
    ).save(root / "man.json")
    return root


def task(root, source, target=None, engine=LOCAL, **changes):
    settings = {"source": str(root / source), "target": None if target is None else str(root / target)}
    settings |= {"profile": root / "man.json", "reference": str(root / "man.png"), "output": root / f"report_{source}"}
    settings |= {"max_frames": None, "min_similarity": {"sface": 0.4}, "max_judge_distance": 0.6, "max_shift": 0.1}
    settings |= {"max_misses": 0.1, "max_jitter": 2.0, "min_sharpness": None, "min_accepted": 0.9}
    settings |= {"face_sets": root / "none"}
    config = ValidateTaskConfig(
        _target_="facesmith.tasks.validate.task.ValidateTask", backend="pyav", **(settings | changes)
    )
    return ValidateTask(config, analyzer=analyzer, engine=engine, progress=False)


def test_validate_task_untouched_video_passes_with_one_file_report(places, capsys):
    figures, page = task(places, "still.mp4", "still.mp4").run()
    saved = json.loads(figures.read_text())
    assert saved["passed"]
    found = saved["summary"]
    assert found["similarity"] > 0.8
    assert found["judge_distance"] < 0.4
    assert (found["shift"], found["jitter_ratio"], found["sharpness_ratio"]) == pytest.approx((0, 1, 1), abs=1e-6)
    assert len(saved["frames"]) == 10
    assert [frame["jitter"] is None for frame in saved["frames"]] == [True, *[False] * 8, True]
    html = page.read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert "http" not in html.replace("http://www.w3.org", "")
    assert html.count("<svg") == 9
    assert html.count("<img") == 12
    assert "similarity" in capsys.readouterr().out


def test_validate_task_jitter_fails_in_one_line(places):
    with pytest.raises(UserError, match=r"limits missed: .*jitter_ratio") as caught:
        task(places, "trembling.mp4", "still.mp4", max_shift=None).run()
    assert "\n" not in str(caught.value)
    saved = json.loads((places / "report_trembling.mp4" / "validation.json").read_text())
    assert saved["summary"]["jitter_ratio"] > 2.2
    assert not saved["passed"]


def test_validate_task_other_person_fails_similarity(places):
    with pytest.raises(UserError, match=r"2 of 3 limits missed: similarity 0\.\d+, at least 0.4 .*judge_distance"):
        task(places, "woman.png").run()


def test_validate_task_mismatched_input_is_refused(places):
    with pytest.raises(UserError, match="no face found in any of 1 frames"):
        task(places, "wall.png").run()
    with pytest.raises(UserError, match="give the file it was swapped into"):
        task(places, "woman.png", "man.png").run()
    with pytest.raises(UserError, match=r"is a video, .*woman.png a image"):
        task(places, "woman.png", "still.mp4")
    with pytest.raises(UserError, match="has no limit for the embedder sface"):
        task(places, "woman.png", min_similarity={"arcface_w600k_r50": 0.85})


def test_validate_task_without_reference_skips_distance(places, capsys):
    figures, _ = task(places, "man.png", reference=None).run()
    assert "judge_distance" not in json.loads(figures.read_text())["summary"]
    assert "judge_distance is not measured" in capsys.readouterr().out


def test_validate_task_on_another_engine_equals_local(places, tmp_path):
    (tmp_path / "men").mkdir()
    with open_video(places / "still.mp4") as reader:
        for i, frame in reader.frames([1, 8]):
            write_image(tmp_path / "men" / f"{i}.png", frame, mark=MARK)
    found = []
    for name, engine in {"here": LOCAL, "there": FarAway()}.items():
        figures, _ = task(places, tmp_path / "men", output=tmp_path / name, engine=engine).run()
        found.append(json.loads(figures.read_text()))
    assert found[0] == found[1]
    assert [frame["file"][-5:] for frame in found[1]["frames"]] == ["1.png", "8.png"]


def test_choose_segments_long_video_includes_both_ends():
    assert choose_segments(10, None) == list(range(10))
    assert choose_segments(1000, 48) == [*range(24), *range(976, 1000)]
