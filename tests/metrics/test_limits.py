import math

import pytest

from facesmith.metrics.comparison import NOT_COMPARED, FaceFigures
from facesmith.metrics.limits import KINDS, LIMITS, find_broken, find_reason

GOOD = {
    "distance": 0.4,
    "identity_moved": 0.3,
    **dict.fromkeys(FaceFigures.__dataclass_fields__, 0.0),
    "sharpness_own": 1.0,
    "pose": 2.0,
    "blur": 1.0,
    "seam": 1.0,
}


def test_find_reason_good_face_is_accepted() -> None:
    assert find_reason(GOOD) == ""


@pytest.mark.parametrize("limit", LIMITS, ids=[limit.figure for limit in LIMITS])
def test_find_reason_each_limit_names_what_is_beyond_it(limit) -> None:
    beyond = limit.value - 0.1 if limit.least else limit.value * 1.3
    figures = {**GOOD, limit.figure: beyond}
    assert find_broken(figures) == [limit]
    assert find_reason(figures) == limit.reason.format(beyond)
    assert find_reason({**figures, limit.figure: limit.value}) == ""
    assert limit.kind in KINDS


def test_find_reason_sign_of_lip_gap_does_not_matter() -> None:
    assert "-0.20" in find_reason({**GOOD, "lips": -0.2})


def test_find_reason_missing_figures_are_within_but_a_face_is_needed() -> None:
    assert find_reason({"nme": 0.01, "colour": math.nan}) == ""
    assert find_reason(NOT_COMPARED.values()) == "no face found"


def test_find_reason_gravest_comes_first() -> None:
    assert find_reason({**GOOD, "seam": 9.0, "distance": 0.8}).startswith("not the person (dlib 0.80), ")
