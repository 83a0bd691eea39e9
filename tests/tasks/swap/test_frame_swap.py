import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.masks import skin_mask
from facesmith.models.onnx.occlusion import GENERAL, Occluder
from facesmith.models.onnx.session import load_swapper
from facesmith.tasks.swap.enhancer import Enhancer
from facesmith.tasks.swap.frame_swap import FrameSwapper, MaskOptions

from .pasting import paste

MAGENTA = (255, 0, 255)


@pytest.fixture(scope="module")
def faces():
    with closing(MediaPipeAnalyzer(detector_sizes=[640], min_score=0.7)) as analyzer:
        return analyzer(astronaut())


@pytest.fixture
def tinting(graph_file):
    """Write a swapper of 256 px for the hyperswap slot that multiplies its target, -1..1, and adds to it."""

    def write(gain: float, offset: float):
        shape = [1, 3, 256, 256]
        nodes = [("Mul", ["target", "gain"], ["scaled"], {}), ("Add", ["scaled", "offset"], ["output"], {})]
        weights = {"gain": np.float32(gain), "offset": np.float32(offset)}
        return load_swapper(graph_file("hyperswap.onnx", nodes, {"target": shape}, {"output": shape}, weights))

    return write


def at(picture: np.ndarray, face, point: int) -> np.ndarray:
    x, y = face.landmarks[point, :2].round().astype(int)
    return picture[y, x].astype(int)


def magenta(colour: np.ndarray) -> bool:
    return bool(np.abs(colour - MAGENTA).max() < 80)


def test_frame_swapper_without_face_returns_frame(swapper_file):
    frame = astronaut()
    assert FrameSwapper(load_swapper(swapper_file)).swap(frame, []) is frame


@pytest.mark.parametrize("boost", [None, 512, 1024])
def test_frame_swapper_pixel_boost_keeps_pixels_in_place(tinting, faces, boost):
    """A swapper that changes nothing gives the frame back, but for what the crop cannot hold."""
    result = FrameSwapper(tinting(1, 0), pixel_boost=boost).swap(astronaut(), faces)
    difference = np.abs(result.astype(int) - astronaut()).max(-1)
    assert (difference > 0).sum() > 10_000
    assert difference[difference > 0].mean() < 6
    shifted = np.abs(np.roll(result, 1, 1).astype(int) - astronaut()).max(-1)
    assert difference[difference > 0].mean() < 0.4 * shifted[difference > 0].mean()


def test_frame_swapper_pixel_boost_no_multiple_raises(tinting):
    with pytest.raises(UserError, match=r"task\.pixel_boost=300: is no multiple of the model's 256 px"):
        FrameSwapper(tinting(1, 0), pixel_boost=300)


def test_frame_swapper_regions_limit_swap(swapper_file, faces):
    model = load_swapper(swapper_file)
    everywhere = FrameSwapper(model).swap(astronaut(), faces)
    only = FrameSwapper(model, masks=MaskOptions(("region",), regions=("mouth",))).swap(astronaut(), faces)
    (face,) = faces
    assert magenta(at(everywhere, face, 13))
    assert magenta(at(everywhere, face, 6))
    assert magenta(at(only, face, 13))
    np.testing.assert_array_equal(at(only, face, 6), at(astronaut(), face, 6))


def test_frame_swapper_masks_combine_by_minimum(swapper_file, faces):
    model = load_swapper(swapper_file)
    (face,) = faces
    masks = MaskOptions(("box", "hull", "region"), 0.3, (0.0, 0.0, 50.0, 0.0), regions=("mouth", "nose"))
    result = FrameSwapper(model, masks=masks).swap(astronaut(), faces)
    assert magenta(at(result, face, 6))  # the bridge of the nose, above the padding
    np.testing.assert_array_equal(at(result, face, 13), at(astronaut(), face, 13))


def test_frame_swapper_occlusion_stays_in_front(swapper_file, faces, graph_file):
    """A red bar over the nose; an occluder of the xseg contract that sees red."""
    path = graph_file(
        "xseg.onnx",
        [
            ("Slice", ["input", "two", "three", "axis"], ["red"], {}),
            ("Slice", ["input", "one", "two", "axis"], ["green"], {}),
            ("Sub", ["red", "green"], ["redness"], {}),
            ("Sub", ["whole", "redness"], ["output"], {}),
        ],
        {"input": [1, 128, 128, 3]},
        {"output": [1, 128, 128, 1]},
        {**{n: np.array([i + 1]) for i, n in enumerate(("one", "two", "three"))}, "axis": np.array([3]), "whole": 1.0},
    )
    (face,) = faces
    frame = astronaut()
    _, y = face.landmarks[1, :2].round().astype(int)
    frame[y - 8 : y + 8] = (255, 0, 0)
    swap = FrameSwapper(load_swapper(swapper_file), masks=MaskOptions(("occlusion",), occluder=Occluder(path)))
    result = swap.swap(frame, faces)
    np.testing.assert_array_equal(at(result, face, 1), (255, 0, 0))
    assert magenta(at(result, face, 6))


def test_frame_swapper_landmarks_far_off_leaves_the_box(tinting, faces, caplog):
    """Landmarks scattered over the picture, but for those that align the face: told once, and only the box masks."""
    (face,) = faces
    scattered = face.landmarks.copy()
    kept = [*topology.LEFT_EYE, *topology.RIGHT_EYE, *topology.NOSE, *topology.MOUTH]
    others = np.setdiff1d(np.arange(len(scattered)), kept)
    scattered[others, :2] = np.random.default_rng(0).uniform(0, 512, (len(others), 2))
    lost = replace(face, landmarks=scattered)
    model, occluder = tinting(-1, 0), Occluder(Path(GENERAL))
    box = FrameSwapper(model, masks=MaskOptions(("box",), 0.3))
    both = FrameSwapper(model, masks=MaskOptions(("box", "occlusion"), 0.3, occluder=occluder))
    with caplog.at_level(logging.WARNING, logger="facesmith"):
        for _ in range(2):
            np.testing.assert_array_equal(both.swap(astronaut(), [lost]), box.swap(astronaut(), [lost]))
    assert [record.message.count("landmarks lie outside of its crop") for record in caplog.records] == [1]
    assert not np.array_equal(both.swap(astronaut(), faces), box.swap(astronaut(), faces))


def test_frame_swapper_colour_match_restores_skin(tinting, faces):
    model, frame = tinting(0.6, -0.3), astronaut()
    (face,) = faces
    skin = (
        paste(
            np.zeros_like(frame),
            np.full((256, 256, 3), 255, np.uint8),
            skin_mask(face.landmarks, 512)[:256, 128:384],
            np.array([[1.0, 0, -128], [0, 1.0, 0]]),
        )[..., 0]
        > 200
    )
    assert skin.sum() > 1000
    off = {}
    for match in (False, True):
        result = FrameSwapper(model, colour_match=match).swap(frame, faces)
        off[match] = np.abs(result[skin].mean(0) - frame[skin].mean(0)).max()
    assert off[False] > 40
    assert off[True] < 5


def test_frame_swapper_enhancer_changes_swap_only(swapper_file, faces, graph_file):
    shape = [1, 3, 512, 512]
    path = graph_file("invert.onnx", [("Neg", ["input"], ["output"], {})], {"input": shape}, {"output": shape})
    model, frame = load_swapper(swapper_file), astronaut()
    (face,) = faces
    plain = FrameSwapper(model).swap(frame, faces)
    full = FrameSwapper(model, enhancer=Enhancer(path)).swap(frame, faces)
    half = FrameSwapper(model, enhancer=Enhancer(path, strength=0.5)).swap(frame, faces)
    np.testing.assert_allclose(at(full, face, 1), (0, 255, 0), atol=3)
    np.testing.assert_allclose(at(half, face, 1), (128, 128, 128), atol=3)
    untouched = (plain == frame).all(-1)
    changed = (full != frame).any(-1)
    assert (changed & untouched).sum() < 0.1 * changed.sum()  # a pixel of the rim, by interpolation


@pytest.mark.parametrize("blend", ["linear", "poisson", "multiband"])
def test_frame_swapper_threads_get_same_result(tinting, faces, blend):
    swap = FrameSwapper(tinting(0.8, 0.1), masks=MaskOptions(("box", "hull"), 0.3), blend=blend, colour_match=True)
    alone = swap.swap(astronaut(), faces)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda _: swap.swap(astronaut(), faces), range(8)):
            np.testing.assert_array_equal(result, alone)


def test_frame_swapper_first_face_is_on_top(graph_file, faces):
    """Two faces in one place: what the second lays on is covered by the first."""
    shape = [1, 3, 256, 256]
    nodes = [
        ("ReduceMean", ["target"], ["mean"], {"axes": [2, 3]}),
        ("Mul", ["target", "zero"], ["nothing"], {}),
        ("Add", ["nothing", "mean"], ["output"], {}),
    ]
    model = load_swapper(graph_file("hyperswap.onnx", nodes, {"target": shape}, {"output": shape}, {"zero": 0.0}))
    (face,) = faces
    aside = replace(face, landmarks=face.landmarks + np.array([40, 0, 0], np.float32))
    swap = FrameSwapper(model)
    first, second = swap.swap(astronaut(), [face, aside]), swap.swap(astronaut(), [aside, face])
    alone = swap.swap(astronaut(), [face])
    np.testing.assert_array_equal(at(first, face, 1), at(alone, face, 1))
    assert (at(second, face, 1) != at(alone, face, 1)).any()
