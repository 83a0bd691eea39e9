"""Faces pasted into the planes of a frame: nothing else changes, and what is pasted is what is shown."""

import av
import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.media.planes import PlaneFrame
from facesmith.tasks.swap.canvas import PlaneCanvas, RgbCanvas

SIZE = 64
MATRIX = np.array([[0.5, 0.05, -45.0], [-0.05, 0.5, -20.0]])
FORMATS = ["yuv420p", "yuvj422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p12le", "gray", "gray10le"]
HDR = {"colorspace": 9, "color_primaries": 9, "color_trc": 16}


def make_frame(pix_fmt, tags=None):
    rgb = np.ascontiguousarray(astronaut()[:256, 64:384])
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pix_fmt)
    for key, value in (tags or {}).items():
        setattr(frame, key, value)
    return PlaneFrame(frame)


def values(frame):
    return [plane.codes.copy() for plane in frame.planes]


def oval():
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    return np.clip(2 - np.hypot(x, y) / 14, 0, 1).astype(np.float32)


@pytest.mark.parametrize("how", ["linear", "poisson", "multiband"])
@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_plane_canvas_outside_mask_is_bit_equal(pix_fmt, how):
    frame = make_frame(pix_fmt)
    before = values(frame)
    face = np.random.default_rng(0).uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32)
    PlaneCanvas(frame).paste(face, oval(), MATRIX, how)
    for plane, old in zip(frame.planes, before, strict=True):
        changed = plane.codes != old
        assert changed.any()
        height, width = old.shape
        points = np.stack([*np.meshgrid(np.arange(width), np.arange(height)), np.ones((height, width))], -1)
        place = points @ plane.to_frame.T
        crop = place @ MATRIX[:, :2].T + MATRIX[:, 2]
        far = np.abs(crop - (SIZE - 1) / 2).max(-1) > 31
        assert not changed[far].any()
        assert far.mean() > 0.5


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_plane_canvas_face_of_one_colour_is_that_colour(pix_fmt):
    frame = make_frame(pix_fmt)
    colour = np.array([200.0, 120, 90] if len(frame.planes) == 3 else [120.0] * 3, np.float32)
    face = np.broadcast_to(colour, (SIZE, SIZE, 3)).copy()
    PlaneCanvas(frame).paste(face, np.ones((SIZE, SIZE), np.float32), MATRIX)
    codes = frame.signal.from_display(colour)
    x, y = np.linalg.solve(MATRIX[:, :2], np.array([32, 32]) - MATRIX[:, 2])
    for at, plane in enumerate(frame.planes):
        across, down = plane.to_frame[0, 0], plane.to_frame[1, 1]
        part = plane.codes[int((y - 16) / down) : int((y + 16) / down), int((x - 16) / across) : int((x + 16) / across)]
        assert np.abs(part - codes[at]).max() <= 0.5 + 1e-3  # half a code value: rounding alone


@pytest.mark.parametrize(("pix_fmt", "tags"), [("yuv420p", {}), ("yuv420p10le", {}), ("yuv420p10le", HDR)])
def test_plane_canvas_own_crop_pasted_back_has_no_bias(pix_fmt, tags):
    smooth = np.linspace(40, 150, 320, dtype=np.float32)[None, :, None] + np.zeros((256, 1, 3), np.float32)
    rgb = np.rint(smooth).astype(np.uint8)
    decoded = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pix_fmt)
    for key, value in tags.items():
        setattr(decoded, key, value)
    frame = PlaneFrame(decoded)
    before = values(frame)
    canvas = PlaneCanvas(frame)
    canvas.paste(canvas.crop(MATRIX, SIZE), np.ones((SIZE, SIZE), np.float32), MATRIX)
    for plane, old in zip(frame.planes, before, strict=True):
        change = plane.codes.astype(int) - old
        assert np.abs(change).max() <= (1 if pix_fmt == "yuv420p" else 3)
        assert abs(change.mean()) < 0.02


def test_plane_canvas_crop_equals_that_of_rgb():
    frame = make_frame("yuv444p")
    ours, plain = PlaneCanvas(frame).crop(MATRIX, SIZE), RgbCanvas(frame.rgb()).crop(MATRIX, SIZE)
    assert np.abs(ours - plain).mean() < 1


def test_plane_canvas_turned_frame_gets_upright_face(make_turned):
    frame = make_turned(90)
    height, width = frame.shape
    matrix = np.array([[1.0, 0, -20], [0, 1.0, -30]])
    face = np.zeros((SIZE, SIZE, 3), np.float32)
    face[:32] = 250
    PlaneCanvas(frame).paste(face, np.ones((SIZE, SIZE), np.float32), matrix)
    shown = frame.rgb()
    assert shown.shape[:2] == (height, width)
    assert shown[30 + 16, 20 + 32].min() > 235
    assert shown[30 + 48, 20 + 32].max() < 20


def test_plane_canvas_decoder_does_not_see_changes(make_clip):
    """A later frame refers to the one that is changed: its values must not change with it."""
    path = make_clip()
    with av.open(str(path)) as container:
        clean = [values(PlaneFrame(frame)) for frame in container.decode(video=0)]
    face = np.zeros((SIZE, SIZE, 3), np.float32)
    with av.open(str(path)) as container:
        for number, decoded in enumerate(container.decode(video=0)):
            frame = PlaneFrame(decoded)
            for ours, theirs in zip(values(frame), clean[number], strict=True):
                np.testing.assert_array_equal(ours, theirs)
            PlaneCanvas(frame).paste(face, np.ones((SIZE, SIZE), np.float32), MATRIX)


@pytest.fixture
def make_turned(make_clip):
    def turned(rotation):
        with av.open(str(make_clip(rotation))) as container:
            return PlaneFrame(next(container.decode(video=0)))

    return turned


@pytest.fixture
def make_clip(tmp_path):
    """A clip of five frames that differ little, so that they refer to each other."""

    def make(rotation=0):
        path = tmp_path / f"clip{rotation}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"preset": "fast", "bf": "2"})
            stream.width, stream.height, stream.pix_fmt = 320, 256, "yuv420p"
            if rotation:
                stream.set_display_rotation(rotation)
            for shift in range(5):
                rgb = np.ascontiguousarray(astronaut()[shift : shift + 256, 64:384])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            container.mux(stream.encode(None))
        return path

    return make


def test_rgb_canvas_sixteen_bits_stay_sixteen_bits():
    deep = (astronaut()[:256, 64:384].astype(np.uint16) * 257) | 1
    picture = deep.copy()
    face = np.full((SIZE, SIZE, 3), 100.3, np.float32)
    RgbCanvas(picture).paste(face, np.ones((SIZE, SIZE), np.float32), MATRIX)
    assert abs(int(picture[110, 150, 0]) - 100.3 * 257) < 1
    np.testing.assert_array_equal(picture[:20], deep[:20])
