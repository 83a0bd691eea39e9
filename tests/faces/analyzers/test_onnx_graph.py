"""Sessions of a file are shared in a process, and never those of an earlier file."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from facesmith.faces.analyzers.mediapipe import SFaceEmbedder
from facesmith.faces.analyzers.onnx_graph import fold_constants, share_session


def test_share_session_is_prepared_once_and_anew_for_a_changed_file(graph_file: Callable[..., Path]) -> None:
    def written(added: float) -> Path:
        weights = {"one": np.float32([added])}
        return graph_file("add.onnx", [("Add", ["x", "one"], ["y"], {})], {"x": [1]}, {"y": [1]}, weights)

    path = written(1)
    first = share_session(path, fold_constants)
    assert share_session(path, fold_constants) is first
    later = path.stat().st_mtime_ns + 1_000_000
    os.utime(written(2), ns=(later, later))
    for session, expected in ((first, 2), (share_session(path, fold_constants), 3)):
        assert session.run(["y"], {"x": np.float32([1])})[0] == expected


def test_embedders_of_a_process_hold_the_weights_once(asset: Callable[[str], Path]) -> None:
    one, other = (SFaceEmbedder(asset("sface.onnx")) for _ in range(2))
    assert one._session is other._session
