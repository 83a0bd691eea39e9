from contextlib import closing
from pathlib import Path

import pytest

from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.tasks.batch import Batch, require_same_analyzer


def fail(error: Exception):
    raise error


def test_batch_any_exception_ends_one_file_only() -> None:
    told: list[str] = []
    batch = Batch(3, told.append, None)
    assert batch.run(Path("a.mp4"), lambda: fail(ValueError("monotonically"))) is None
    assert batch.run(Path("b.mp4"), lambda: fail(UserError("b.mp4: is empty; remove it"))) is None
    assert batch.run(Path("c.mp4"), lambda: 3) == 3
    assert told == [
        "skipped: a.mp4: unexpected ValueError: monotonically; leave the file out, or report this",
        "skipped: b.mp4: is empty; remove it",
    ]
    batch.require_any([3], "nothing of")
    with pytest.raises(UserError, match=r"nothing of 2 files; first: a\.mp4: unexpected"):
        batch.require_any([], "nothing of")


def test_batch_of_one_file_fails_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        Batch(1, print, None).run(Path("a.mp4"), lambda: 1 // 0)


def test_worker_with_another_analyzer_is_refused() -> None:
    with closing(MediaPipeAnalyzer(detector_sizes=[640], min_score=0.7)) as analyzer:
        require_same_analyzer(analyzer, analyzer.fingerprint)
        with pytest.raises(UserError, match="install the same on all machines"):
            require_same_analyzer(analyzer, "another")
