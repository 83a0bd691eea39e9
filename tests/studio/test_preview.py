"""One frame before a film is rendered: what is drawn, and that it says it is synthetic."""

import base64
from pathlib import Path

import numpy as np
import pytest

from facesmith.media.images import read_image
from facesmith.media.verification import verify_provenance
from facesmith.studio.preview import draw, to_base64
from facesmith.studio.swap_request import SwapRequest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_draw_swaps_the_largest_face_and_marks_it(swapper_file: Path, asset, project: Path) -> None:
    request = SwapRequest(model=str(swapper_file), target=str(asset("astronaut.png")), masks=("box",), occluder="")
    drawn = draw(request)
    assert (drawn.faces, drawn.swapped, drawn.frames) == (1, 1, 1)
    assert drawn.before.shape == drawn.after.shape
    changed = np.abs(drawn.after.astype(int) - drawn.before).max(-1) > 8
    assert 0.005 < changed.mean() < 0.5
    sent = project / "sent.png"
    sent.write_bytes(base64.b64decode(to_base64(drawn.after, drawn.mark)))
    np.testing.assert_array_equal(read_image(sent), drawn.after)
    mark = verify_provenance(sent).mark
    assert mark is not None
    assert (mark.model_hash, mark.identity) == (drawn.mark.model_hash, drawn.mark.identity)
