"""Several people in one pass: who becomes whom, and that it is what single runs give."""

import cv2
import numpy as np
import onnx
import pytest
import yaml
from onnx import numpy_helper
from skimage.data import astronaut

from facesmith.cli.composition import load_config
from facesmith.config.schema import InferConfig
from facesmith.errors import UserError
from facesmith.media.images import read_image, write_image
from facesmith.media.verification import verify_provenance
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter

from .test_swap import FRAME, task
from .test_swap_video import couple  # noqa: F401  # a fixture

SHARED = {"select_threshold": {"sface": 0.36}, "profile": None}


def entry(model, target, **changes):
    return {**FRAME, **SHARED, "model": str(model), "target": target, **changes}


@pytest.fixture
def cyan_file(swapper_file, tmp_path):
    """The swapper of `swapper_file` with a cyan disc, shown for somebody else."""
    model = onnx.load(swapper_file)
    (colour,) = [one for one in model.graph.initializer if one.name == "colour"]
    colour.CopyFrom(numpy_helper.from_array(np.array([-1, 1, 1], np.float32).reshape(1, 3, 1, 1), "colour"))
    for one in model.metadata_props:
        one.value = one.value.replace('"disc"', '"cyan"') if one.value != "disc" else "cyan"
    path = tmp_path / "cyan.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def her(tmp_path_factory):
    path = tmp_path_factory.mktemp("her") / "her.png"
    write_image(path, astronaut(), mark=None)
    return path


def like(picture: np.ndarray, *colour: int) -> np.ndarray:
    return np.abs(picture.astype(int) - colour).max(-1) < 60


def magenta(picture: np.ndarray) -> np.ndarray:
    return like(picture, 255, 0, 255)


def cyan(picture: np.ndarray) -> np.ndarray:
    return like(picture, 0, 255, 255)


def frames(path):
    with open_video(path) as reader:
        return [frame for _, frame in reader.frames(range(len(reader)))]


def said_by(work) -> str:
    with pytest.raises(UserError) as raised:
        work()
    return str(raised.value)


def test_cast_of_two_equals_the_single_runs(swapper_file, cyan_file, couple, her, tmp_path, capsys):  # noqa: F811
    lossless = {"codec": "ffv1", "workers": 1, "end": "24f"}
    both, left, right = (tmp_path / f"{name}.mkv" for name in ("both", "left", "right"))
    cast = [entry(swapper_file, 0), entry(cyan_file, str(her), mask_blur=0.5)]
    task(None, couple, both, cast=cast, **lossless).run()
    told = capsys.readouterr().out
    task(swapper_file, couple, left, select=0, **lossless).run()
    task(cyan_file, couple, right, select="reference", reference=her, mask_blur=0.5, **lossless).run()
    for of_both, of_left, of_right in zip(frames(both), frames(left), frames(right), strict=True):
        np.testing.assert_array_equal(of_both[:, :320], of_left[:, :320])
        np.testing.assert_array_equal(of_both[:, 320:], of_right[:, 320:])
        assert magenta(of_both[:, :320]).sum() > 200
        assert cyan(of_both[:, 320:]).sum() > 500
    assert "disc: in 24 of 24 frames" in told
    assert "cyan: in 24 of 24 frames" in told
    mark = verify_provenance(both).mark
    assert mark.identity == "disc,cyan"
    assert len(mark.model_hash.split(",")) == 2


def test_cast_of_a_picture_models_of_two_sizes(swapper_file, graph_file, couple, tmp_path):  # noqa: F811
    """A model of 32 px and one of 256 px that brightens; the one that is left gets it."""
    write_image(tmp_path / "two.png", frames(couple)[0], mark=None)
    shape = [1, 3, 256, 256]
    brighter = graph_file(
        "hyperswap.onnx",
        [("Add", ["target", "more"], ["output"], {})],
        {"target": shape},
        {"output": shape},
        {"more": 0.5},
    )
    cast = [entry(swapper_file, 0), entry(brighter, "all", consent="synthetic")]
    task(None, tmp_path / "two.png", tmp_path / "out.png", cast=cast).run()
    before, after = read_image(tmp_path / "two.png").astype(int), read_image(tmp_path / "out.png").astype(int)
    assert magenta(after[:, :320]).sum() > 200
    assert (after - before)[:, 320:].max() > 50
    assert (after - before)[:, 320:].min() > -20


def test_cast_entry_that_matches_nobody_is_an_error_by_key(swapper_file, cyan_file, couple, tmp_path, capsys):  # noqa: F811
    write_image(tmp_path / "two.png", frames(couple)[0], mark=None)
    cast = [entry(swapper_file, 0), entry(cyan_file, "all")]
    write_image(tmp_path / "one.png", frames(couple)[0][:, :320], mark=None)
    output = tmp_path / "out.png"
    said = said_by(task(None, tmp_path / "one.png", output, cast=cast).run)
    assert f"entry 1 of the cast ({cyan_file}, target=all) matched nobody" in said
    assert output.exists()
    task(None, tmp_path / "one.png", output, cast=cast, fail_when_unmatched=False).run()
    assert "cyan: in 0 of 1 frames" in capsys.readouterr().out


def test_cast_of_two_entries_for_one_person_is_refused(swapper_file, cyan_file, couple, her, tmp_path):  # noqa: F811
    write_image(tmp_path / "her_too.png", np.ascontiguousarray(astronaut()[:, ::-1]), mark=None)
    cast = [entry(swapper_file, str(her)), entry(cyan_file, str(tmp_path / "her_too.png"))]
    said = said_by(lambda: task(None, couple, tmp_path / "out.mp4", cast=cast))
    assert "entries 0 and 1 claim one face" in said
    write_image(tmp_path / "two.png", frames(couple)[0], mark=None)
    twice = task(None, tmp_path / "two.png", tmp_path / "out.png", cast=[cast[0], entry(cyan_file, 1)])
    assert "is number 1 from the left" in said_by(twice.run)
    beyond = task(None, tmp_path / "two.png", tmp_path / "out.png", cast=[entry(cyan_file, 5)])
    assert "fewer than 6 faces at once, so none is number 5 from the left" in said_by(beyond.run)


def test_cast_settings_from_command_line_and_file(swapper_file, her, tmp_path):
    given = ["task=swap", "source=a.png", "output=b.png", "task.mask_blur=0.2"]

    def entries(cast):
        return load_config("infer", InferConfig, [*given, cast]).task.entries()

    first, second = entries("task.cast=[{model: a.onnx, target: 2}, {model: b.onnx, target: x.json, masks: [box]}]")
    assert (first.target, second.target) == (2, "x.json")
    assert (first.masks, second.masks) == (["box", "occlusion"], ["box"])
    assert (first.mask_blur, second.mask_blur) == (0.2, 0.2)
    file = tmp_path / "cast.yaml"
    file.write_text(yaml.safe_dump([{"model": "a.onnx", "target": 2, "adapter_scale": 0.5}]))
    (only,) = entries(f"task.cast={file}")
    assert (str(only.model), only.adapter_scale) == ("a.onnx", 0.5)
    for wrong, line in {
        "task.cast=[{model: a.onnx, target: 2, mask_blurr: 0.1}]": "cast.0.mask_blurr: no such key; did you mean "
        "task.cast.0.mask_blur?",
        "task.cast=[{model: a.onnx}]": "task.cast.0.target: ",
        "task.cast=[{model: a.onnx, target: -1}]": "task.cast.0.target",
        "task.cast=[{model: a.onnx, target: 1}, {model: b.onnx, target: 1}]": "entries 0 and 1 both claim target=1",
        "task.cast=[]": "task.cast",
        f"task.cast={tmp_path / 'missing.yaml'}": "missing.yaml: cannot be read (No such file",
    }.items():
        assert line in said_by(lambda wrong=wrong: entries(wrong))
    with pytest.raises(UserError, match="model belongs to one entry"):
        load_config("infer", InferConfig, [*given, "task.model=c.onnx", f"task.cast={file}"])
    file.write_text("model: a.onnx")
    assert "must be a list of entries" in said_by(lambda: entries(f"task.cast={file}"))


def test_preview_draws_a_sheet_and_stops(swapper_file, cyan_file, couple, tmp_path, capsys):  # noqa: F811
    output = tmp_path / "out.mp4"
    cast = [entry(swapper_file, 0), entry(cyan_file, 1)]
    (sheet,) = task(None, couple, output, cast=cast, preview=2, max_gap=0.0, smoothing=0.0).run()
    assert sheet == tmp_path / "out_preview.jpg"
    assert [path.name for path in tmp_path.glob("out*")] == ["out_preview.jpg"]
    assert "cyan: in 2 of 2 frames" in capsys.readouterr().out
    picture = read_image(sheet)
    assert picture.shape[1] == 1600
    right = picture[:, 800:]
    assert magenta(right).sum() > 2000
    assert cyan(right).sum() > 2000
    assert verify_provenance(sheet).mark.identity == "disc,cyan"


@pytest.mark.slow
def test_cast_of_faces_that_cross_keep_their_models(swapper_file, cyan_file, asset, tmp_path):
    """The astronaut passes before the man, who is hidden for a moment; both change sides."""
    source, output = tmp_path / "cross.mp4", tmp_path / "out.mp4"
    woman = np.ascontiguousarray(astronaut()[:300, 90:370])
    with open_video(asset("single_face.mp4")) as reader, VideoWriter(source, fps=24, mark=None, crf=10) as writer:
        for i, man in reader.frames(range(60)):
            canvas = np.full((320, 960, 3), 90, np.uint8)
            for picture, x in ((man[20:320, 170:470], 40 + 9 * i), (cv2.resize(woman, (280, 300)), 580 - 9 * i)):
                canvas[10:310, x : x + picture.shape[1]] = picture
            writer.write(canvas)
    task(None, source, output, cast=[entry(swapper_file, 0), entry(cyan_file, 1)], workers=1).run()
    drawn = frames(output)
    for i in (0, 6, 54, 59):
        places = [float(np.argwhere(seen(drawn[i]))[:, 1].mean()) for seen in (magenta, cyan)]
        assert (places[0] < places[1]) == (i < 30)
        assert abs(places[0] - (190 + 9 * i)) < 60
