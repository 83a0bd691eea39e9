"""The insightface analyzer on a pack made here, as buffalo_l is not everywhere to be had.

Its classes SCRFD and ArcFaceONNX run for real. In det_10g.onnx's place stands a graph of SCRFD's nine outputs
that always sees one box, the astronaut's face; in w600k_r50.onnx's place stands SFace.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from skimage.data import astronaut

from facesmith.assets.store import DIRECTORY_VARIABLE
from facesmith.errors import UserError
from facesmith.faces.analyzers import insightface as ours
from facesmith.faces.analyzers.insightface import InsightFaceAnalyzer
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.analyzers.onnx_graph import fold_constants

Asset = Callable[[str], Path]

SIZE, STRIDE = 512, 16
BOX = np.array([178.0, 63, 268, 176])
FIVE = np.array([[203.0, 101], [246, 103], [223, 131], [202, 139], [245, 140]])


@pytest.fixture(autouse=True)
def _fixed_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no crops searched: this detector's answers are those of one size."""
    monkeypatch.setattr("facesmith.faces.analyzers.turned.CERTAIN", 0.9)
    monkeypatch.setattr("facesmith.faces.analyzers.landmarker.find_cut", lambda *_: [])
    monkeypatch.setattr("facesmith.faces.analyzers.landmarker.find_turned", lambda *_: [])


def detector() -> onnx.ModelProto:
    """Scores, boxes and points of every stride as SCRFD lays them out: two anchors a cell, in strides."""
    outputs: dict[str, np.ndarray] = {}
    for kind, width in (("score", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            outputs[f"{kind}_{stride}"] = np.zeros(((SIZE // stride) ** 2 * 2, width), np.float32)
    column, row = 14, 8
    anchor = np.array([column, row]) * STRIDE
    at = (row * (SIZE // STRIDE) + column) * 2
    outputs["score_16"][at] = 0.905
    outputs["bbox_16"][at] = np.concatenate([anchor - BOX[:2], BOX[2:] - anchor]) / STRIDE
    outputs["kps_16"][at] = ((FIVE - anchor) / STRIDE).ravel()
    nodes = [helper.make_node("ReduceMax", ["input.1"], ["max"], keepdims=0)]
    nodes += [helper.make_node("Mul", ["max", "zero"], ["nothing"])]
    nodes += [helper.make_node("Add", [f"{name}_value", "nothing"], [name]) for name in outputs]
    graph = helper.make_graph(
        nodes,
        "scrfd",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, "?", "?"])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(v.shape)) for n, v in outputs.items()],
        [numpy_helper.from_array(np.float32(0), "zero")]
        + [numpy_helper.from_array(v, f"{n}_value") for n, v in outputs.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)


@pytest.fixture(scope="module")
def analyzer(asset: Asset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InsightFaceAnalyzer]:
    folder = tmp_path_factory.mktemp("assets")
    onnx.save(detector(), str(folder / "det_10g.onnx"))
    onnx.save(fold_constants(asset("sface.onnx")), str(folder / "w600k_r50.onnx"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DIRECTORY_VARIABLE, str(folder))
        made = InsightFaceAnalyzer(detector_sizes=[SIZE], min_score=0.5)
        yield made
        made.close()


def test_insightface_portrait_matches_mediapipe(analyzer: InsightFaceAnalyzer) -> None:
    (face,) = analyzer(astronaut())
    np.testing.assert_allclose(face.box, BOX, atol=0.5)
    np.testing.assert_allclose(face.keypoints, FIVE, atol=5)
    assert face.score == pytest.approx(0.905)
    assert analyzer.embedder == "arcface_w600k_r50"
    default = MediaPipeAnalyzer(detector_sizes=[640], min_score=0.7)
    (same,) = default(astronaut())
    default.close()
    # The same recogniser, through ArcFaceONNX and through ours; the crops of the landmarker differ a little.
    assert float(face.embedding @ same.embedding) > 0.97
    assert np.linalg.norm(face.landmarks - same.landmarks, axis=1).mean() < 2


def test_insightface_detection_without_landmarks_is_dropped(analyzer: InsightFaceAnalyzer) -> None:
    before = analyzer.dropped
    assert analyzer(np.zeros((512, 512, 3), np.uint8)) == []
    assert analyzer.dropped == before + 1


def test_insightface_embed_aligned_equals_arcfaceonnx(analyzer: InsightFaceAnalyzer) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    embeddings = analyzer.embed_aligned(crops)
    assert embeddings.shape == (2, analyzer.embedding_size)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    raw = analyzer._recogniser.get_feat([crops[1][..., ::-1].copy()])[0]
    np.testing.assert_allclose(embeddings[1], raw / np.linalg.norm(raw), atol=1e-5)


def test_insightface_licence_warning_appears_once(caplog: pytest.LogCaptureFixture) -> None:
    ours._warn_of_licence.cache_clear()
    with caplog.at_level(logging.WARNING):
        ours._warn_of_licence()
        ours._warn_of_licence()
    assert sum("non-commercial" in record.getMessage() for record in caplog.records) == 1


def test_insightface_missing_pack_explains_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = tmp_path / "buffalo_l"
    pack.mkdir()
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    with pytest.raises(UserError) as caught:
        InsightFaceAnalyzer(detector_sizes=[640], min_score=0.5)
    message = str(caught.value)
    assert "assets.dir" in message
    assert "analyzer=mediapipe" in message
    assert "\n" not in message
