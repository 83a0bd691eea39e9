import numpy as np
import pytest

from facesmith.errors import UserError
from facesmith.models.onnx.session import load_swapper

SIDE = 96


@pytest.fixture
def dfm(graph_file):
    """Write a .dfm: a face of the input's blue channel alone, in a square in the middle."""

    def write(morph=False, outputs=3, side=SIDE, name="ada.dfm"):
        mask = np.zeros((1, SIDE, SIDE, 1), np.float32)
        mask[:, 20:-20, 20:-20] = 1
        inputs = {"in_face:0": ["N", SIDE, side, 3]}
        blue = np.array([1, 0, 0], np.float32)  # of BGR
        nodes = [
            ("Mul", ["in_face:0", "blue"], ["tinted"], {}),
            ("Mul", ["tinted", "morph_value:0" if morph else "one"], ["out_celeb_face:0"], {}),
            ("ReduceMean", ["in_face:0"], ["grey"], {"axes": [3], "keepdims": 1}),
            ("Mul", ["grey", "zero"], ["nothing"], {}),
            ("Add", ["nothing", "mask"], ["out_face_mask:0"], {}),
            ("Add", ["nothing", "one"], ["out_celeb_face_mask:0"], {}),
        ]
        if morph:
            inputs["morph_value:0"] = [1]
        given = {
            "out_face_mask:0": ["N", SIDE, SIDE, 1],
            "out_celeb_face:0": ["N", SIDE, side, 3],
            "out_celeb_face_mask:0": ["N", SIDE, SIDE, 1],
        }
        weights = {"blue": blue, "one": np.float32(1), "zero": np.float32(0), "mask": mask}
        kept = dict(list(given.items())[:outputs])
        made = [node for node in nodes if not node[2][0].startswith("out_") or node[2][0] in kept]
        return graph_file(name, made, inputs, kept, weights)

    return write


def test_dfm_is_fed_bgr_and_read_by_position(dfm):
    model = load_swapper(dfm())
    info = model.info
    assert (info.template, info.size, info.identity_baked_in, info.identity) == ("dfl_whole_face", SIDE, True, "ada")
    crops = np.full((2, SIDE, SIDE, 3), (200, 150, 90), np.uint8)
    picture, mask = model(crops)
    assert tuple(picture[1, SIDE // 2, SIDE // 2]) == (0, 0, 90)
    assert mask[0, SIDE // 2, SIDE // 2] == pytest.approx(1, abs=1e-3)
    np.testing.assert_array_equal(picture[:, 0, 0], crops[:, 0, 0])
    # the square's edge at 20 px, two rounds of erosion further in, blurred by 6.25 px
    assert mask[0, SIDE // 2, 22] == pytest.approx(0.53, abs=0.05)


def test_dfm_morph_is_fed(dfm):
    crops = np.full((2, SIDE, SIDE, 3), 100, np.uint8)
    for morph in (0.5, 1.0):
        picture, _ = load_swapper(dfm(morph=True), morph=morph)(crops)
        assert picture[1, SIDE // 2, SIDE // 2, 2] == 100 * morph


def test_dfm_wrong_contract_raises(dfm, graph_file, tmp_path):
    for path, words in (
        (dfm(outputs=2, name="two.dfm"), "it has 2 outputs, not mask, face, mask"),
        (dfm(side="W", name="free.dfm"), "in_face:0 is tensor(float) Nx96xWx3"),
        (
            graph_file("x.dfm", [("Identity", ["x"], ["y"], {})], {"x": [1]}, {"y": [1]}),
            "its inputs are x, not in_face:0",
        ),
    ):
        with pytest.raises(UserError) as caught:
            load_swapper(path)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
