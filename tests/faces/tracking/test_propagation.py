import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.measures import iris_distance
from facesmith.faces.tracking.propagation import detect_faces, propagate_faces
from facesmith.media.video import open_video


class Counting(MediaPipeAnalyzer):
    """Knows how often it looked for faces in a whole frame."""

    searches = 0

    def detect(self, frame):
        self.searches += 1
        return super().detect(frame)


@pytest.fixture(scope="module")
def analyzer():
    made = Counting(detector_sizes=[640, 256], min_score=0.7)
    yield made
    made.close()


@pytest.fixture(scope="module")
def drive(asset):
    with open_video(asset("carphone_pristine.mp4")) as reader:
        return [frame for _, frame in reader.frames(range(9))]


def test_propagate_faces_matches_full_detection(analyzer, drive):
    whole = [detect_faces(analyzer, frame, embed=False) for frame in drive]
    analyzer.searches = 0
    found = propagate_faces(analyzer, drive[:8], whole[0], (drive[8], whole[8]), embed=False)
    assert analyzer.searches == 0
    assert [len(faces) for faces in found] == [1] * 8
    a, b = (np.stack([faces[0].landmarks for faces in each[:8]]) for each in (whole, found))
    off = np.linalg.norm((a - b)[..., :2], axis=-1) / iris_distance(a)[:, None]
    assert off.mean() < 0.02  # the second difference of the landmarker's own answers is .034
    assert all(np.isnan(faces[0].embedding).all() for faces in found[1:])


def test_propagate_faces_entering_face_is_traced_back(analyzer):
    nothing = np.full((320, 320, 3), 90, np.uint8)
    frames = [nothing.copy() for _ in range(9)]
    for i in range(3, 9):  # 40 px of it more with each frame; the thumbnail changes little
        frames[i][:, : 40 * (i - 2) + 60] = astronaut()[:320, 60 + 260 - 40 * (i - 2) : 380]
    first, last = detect_faces(analyzer, frames[0], embed=False), detect_faces(analyzer, frames[8], embed=False)
    assert (len(first), len(last)) == (0, 1)
    found = propagate_faces(analyzer, frames[:8], first, (frames[8], last), embed=False)
    assert [len(faces) for faces in found[6:]] == [1, 1]
    assert found[0] == []


def test_propagate_faces_cut_detects_again(analyzer, drive):
    other = astronaut()[:144, 130:306].copy()
    first = detect_faces(analyzer, drive[0], embed=False)
    analyzer.searches = 0
    found = propagate_faces(analyzer, [drive[0], drive[1], other, other], first, None, embed=True)
    assert analyzer.searches == 1
    assert len(found[2]) == len(found[3]) == 1
    assert np.linalg.norm(found[2][0].embedding) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(found[3][0].landmarks - found[2][0].landmarks, axis=1).mean() < 1.5


def test_propagate_faces_hidden_face_is_missing(analyzer, drive):
    first = detect_faces(analyzer, drive[0], embed=False)
    hidden = drive[1].copy()
    hidden[10:120, 40:130] = 90
    found = propagate_faces(analyzer, [drive[0], hidden, drive[2]], first, None, embed=False)
    assert len(found[1]) == 0
