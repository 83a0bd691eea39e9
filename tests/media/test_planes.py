import gc

import av
import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.faces.geometry.alignment import warp_face
from facesmith.media.planes import PlaneFrame, is_plain
from facesmith.media.video import open_video, read_planes


def frame_of(pix_fmt, rgb=None):
    picture = astronaut()[:256, 64:384] if rgb is None else rgb
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format=pix_fmt)


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuvj420p", "yuv422p10le", "yuv444p", "yuv420p10le", "gray", "nv12", "p010le", "uyvy422"]
)
def test_plane_frame_views_show_the_picture(pix_fmt):
    frame = PlaneFrame(frame_of(pix_fmt))
    assert is_plain(frame.frame.format)
    whole = frame.rgb()
    assert whole.shape == (256, 320, 3)
    for shrink in (1, 2, 3):
        view, box = frame.view((40, 30, 201, 181), shrink)
        left, top, right, bottom = box
        assert left <= 40 < right
        assert (right - left, bottom - top) == (view.shape[1] * shrink, view.shape[0] * shrink)
        there = cv2.resize(whole[top:bottom, left:right], view.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(view.astype(int) - there).mean() < 2


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gray", "p010le"])
@pytest.mark.parametrize("scale", [1.4, 0.9, 0.3])
def test_plane_frame_cut_is_a_crop_of_the_picture(pix_fmt, scale):
    frame = PlaneFrame(frame_of(pix_fmt, cv2.resize(astronaut(), (1024, 1024))))
    matrix = cv2.getRotationMatrix2D((420, 260), 20, scale) - [[0, 0, 356], [0, 0, 196]]
    crop = frame.cut(matrix, 128)
    assert crop.shape == (128, 128, 3)
    assert crop.dtype == np.uint8
    assert np.abs(crop.astype(int) - warp_face(frame.rgb(), matrix, 128)).mean() < 3


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_plane_frame_turned_view_is_upright(make_video, rotation):
    path = make_video(f"planes{rotation}.mp4", 2, rotation=rotation)
    with av.open(str(path)) as container:
        frame = PlaneFrame(next(container.decode(video=0)))
    whole = frame.rgb()
    assert frame.shape == whole.shape[:2]
    view, (left, top, right, bottom) = frame.view((8, 16, 60, 50), 1)
    assert np.abs(view.astype(int) - whole[top:bottom, left:right]).mean() < 3
    cut = frame.cut(np.array([[1.0, 0, -8], [0, 1, -16]]), 40)
    assert np.abs(cut.astype(int) - whole[16:56, 8:48]).mean() < 3


def test_plane_frame_planes_are_those_of_the_file():
    decoded = frame_of("yuv420p10le")
    values = decoded.to_ndarray()
    luma, cb, cr = PlaneFrame(decoded).planes
    assert luma.codes.dtype == np.uint16
    np.testing.assert_array_equal(luma.codes, values[:256])
    assert cb.codes.shape == cr.codes.shape == (128, 160)
    luma.codes[10, 20] = 321
    assert PlaneFrame(decoded).planes[0].codes[10, 20] == 321


def test_plane_frame_from_rgb_keeps_colours():
    frame = PlaneFrame.from_rgb(astronaut())
    assert frame.frame.format.name == "yuv420p"
    assert np.abs(frame.rgb().astype(int) - astronaut()).mean() < 3


def count_frames():
    return sum(type(each) is av.VideoFrame for each in gc.get_objects())


def test_read_planes_frames_that_nobody_holds_are_freed_without_garbage_collection(make_video):
    path = make_video("long.mp4", 60)
    gc.collect()
    held = count_frames()  # by other tests
    gc.disable()
    try:
        with open_video(path) as reader:
            for _, frame in read_planes(reader, range(60)):
                assert frame.rgb().any()
            alive = count_frames() - held
    finally:
        gc.enable()
    assert alive < 20
