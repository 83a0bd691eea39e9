"""A swapped video against its source, plane by plane: codecs without loss show what went to the encoder."""

import av
import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.media.planes import PlaneFrame
from facesmith.media.video import open_video, read_planes

from .test_swap import task


@pytest.fixture(scope="module")
def woman(tmp_path_factory):
    """20 frames of 10 bits, 4:2:2, of the astronaut, who is hidden in the first 6."""
    path = tmp_path_factory.mktemp("woman") / "woman.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 256, "yuv422p10le"
        for number in range(20):
            rgb = np.full((256, 320, 3), 70, np.uint8) if number < 6 else astronaut()[number : number + 256, 64:384]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv422p10le")))
        container.mux(stream.encode(None))
    return path


def planes(path):
    with open_video(path) as reader:
        return [[plane.codes.copy() for plane in frame.planes] for _, frame in read_planes(reader, range(len(reader)))]


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_swap_planes_outside_faces_are_those_of_the_source(swapper_file, woman, tmp_path):
    task(swapper_file, woman, tmp_path / "out.mkv", codec="ffv1", max_gap=0.0, segment_seconds=0.3).run()
    before, after = planes(woman), planes(tmp_path / "out.mkv")
    assert [equal(*pair) for pair in zip(before, after, strict=True)] == [True] * 6 + [False] * 14
    for old, new in zip(before[6:], after[6:], strict=True):
        for a, b in zip(old, new, strict=True):
            assert b.dtype == np.uint16
            assert 0.01 < (a != b).mean() < 0.25
            rows, columns = np.nonzero(a != b)
            assert rows.max() - rows.min() < 0.6 * len(a)
            assert columns.max() - columns.min() < 0.6 * a.shape[1]


def test_swap_planes_part_equals_that_part_of_the_whole(swapper_file, woman, tmp_path):
    options = {"codec": "ffv1", "smoothing": 0.1, "max_gap": 0.1, "detect_every": 4}
    task(swapper_file, woman, tmp_path / "whole.mkv", **options).run()
    task(swapper_file, woman, tmp_path / "part.mkv", start="7f", end=0.6, **options).run()
    whole, part = planes(tmp_path / "whole.mkv"), planes(tmp_path / "part.mkv")
    assert len(part) == 8
    assert all(equal(*pair) for pair in zip(whole[7:15], part, strict=True))


def test_swap_planes_scale_and_suffix(swapper_file, woman, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/scene.mkv").write_bytes(woman.read_bytes())
    done = task(swapper_file, tmp_path / "in", tmp_path / "out", suffix=".mov", scale=128, start=0.4).run()
    assert [path.name for path in done] == ["scene.mov"]
    with open_video(done[0]) as reader:
        assert (reader.width, reader.height, len(reader)) == (160, 128, 10)
        assert next(read_planes(reader, [0]))[1].frame.format.name == "yuv422p10le"


def test_swap_planes_interlaced_is_told_or_made_progressive(swapper_file, tmp_path, capsys):
    source = tmp_path / "fields.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "tff=1", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 320, 256, "yuv420p"
        for number in range(10):
            woven = astronaut()[:256, 64:384].copy()
            woven[1::2] = astronaut()[1:256:2, 64 + 6 * (number % 2) : 384 + 6 * (number % 2)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(woven), format="rgb24")))
        container.mux(stream.encode(None))
    task(swapper_file, source, tmp_path / "woven.mp4").run()
    assert "is interlaced; its fields are kept" in capsys.readouterr().out
    task(swapper_file, source, tmp_path / "whole.mp4", deinterlace=True).run()
    assert "is interlaced" not in capsys.readouterr().out

    def state(name):
        with av.open(str(tmp_path / name)) as container:
            frames = list(container.decode(video=0))
            luma = PlaneFrame(frames[5]).planes[0].codes[:60].astype(float)  # above the face
            combs = np.abs(luma[1:-1:2] - (luma[:-2:2] + luma[2::2]) / 2).mean()
            return len(frames), frames[5].interlaced_frame, combs

    woven, whole = state("woven.mp4"), state("whole.mp4")
    assert woven[:2] == (10, True)
    assert whole[:2] == (10, False)
    assert whole[2] < 0.7 * woven[2]
