import numpy as np

from facesmith.faces.geometry import topology
from facesmith.faces.geometry.topology import BLENDSHAPES


def test_topology_mirrors_are_involutions_and_swap_sides() -> None:
    for mirror, size in ((topology.LANDMARK_MIRROR, 478), (topology.BLENDSHAPE_MIRROR, 52)):
        assert len(mirror) == size
        assert (mirror[mirror] == np.arange(size)).all()
    mirror = topology.LANDMARK_MIRROR
    for left, right in (
        (topology.LEFT_EYE, topology.RIGHT_EYE),
        (topology.LEFT_BROW, topology.RIGHT_BROW),
        (topology.LEFT_IRIS, topology.RIGHT_IRIS),
    ):
        assert set(mirror[left]) == set(right)
    for ring in (topology.LIPS_OUTER, topology.LIPS_INNER, topology.OVAL, topology.NOSE):
        assert set(mirror[ring]) == set(ring)
    assert (mirror[topology.MIDLINE] == topology.MIDLINE).all()


def test_topology_blendshape_positions_match_names() -> None:
    swapped = [name.replace("Left", "?").replace("Right", "Left").replace("?", "Right") for name in BLENDSHAPES]
    assert [BLENDSHAPES[i] for i in topology.BLENDSHAPE_MIRROR] == swapped
    assert all(BLENDSHAPES[i].startswith("eye") for i in topology.EYE_BLENDSHAPES)
    assert all(BLENDSHAPES[i].startswith(("jaw", "mouth")) for i in topology.MOUTH_BLENDSHAPES)
    assert all(BLENDSHAPES[i].startswith("brow") for i in topology.BROW_BLENDSHAPES)
    assert [BLENDSHAPES[i] for i in topology.EYE_BLINK] == ["eyeBlinkLeft", "eyeBlinkRight"]
    assert BLENDSHAPES[topology.JAW_OPEN] == "jawOpen"
