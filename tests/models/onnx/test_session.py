import numpy as np
import onnx
import pytest

from facesmith.errors import UserError
from facesmith.models.onnx.session import load_swapper


def error_message(path) -> str:
    with pytest.raises(UserError) as error:
        load_swapper(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


def changed(path, change):
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def props(model, **values):
    said = {entry.key: entry.value for entry in model.metadata_props} | values
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {key: value for key, value in said.items() if value is not None})


def test_load_swapper_swaps_batch(swapper_file):
    model = load_swapper(swapper_file)
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    picture, mask = model(crops)
    assert picture.dtype == np.uint8
    assert mask.shape == (3, 32, 32)
    assert (picture[:, 16, 16] == (255, 0, 255)).all()
    np.testing.assert_array_equal(picture[mask == 0], crops[mask == 0])


def test_swapper_wrong_crop_shape_raises(swapper_file):
    with pytest.raises(ValueError, match=r"not uint8 \(N, 32, 32, 3\)"):
        load_swapper(swapper_file)(np.zeros((1, 64, 64, 3), np.uint8))


def test_swapper_fixed_batch_file_takes_several(swapper_file):
    def fix(model):
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1

    model = load_swapper(changed(swapper_file, fix))
    assert model(np.zeros((3, 32, 32, 3), np.uint8))[0].shape == (3, 32, 32, 3)


def test_load_swapper_missing_file_or_suffix_raises(tmp_path):
    assert "no such file" in error_message(tmp_path / "ada.onnx")
    (tmp_path / "ada.pt").write_bytes(b"")
    assert "neither .onnx nor .dfm nor .ckpt" in error_message(tmp_path / "ada.pt")


@pytest.mark.parametrize("content", [b"", b"not a model at all, only words"])
def test_load_swapper_no_onnx_raises(tmp_path, content):
    (tmp_path / "ada.onnx").write_bytes(content)
    assert "cannot" in error_message(tmp_path / "ada.onnx") or "no contract" in error_message(tmp_path / "ada.onnx")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"contract": None}, "it has no facesmith metadata"),
        ({"contract": "facesmith/occluder/1"}, "its contract is 'facesmith/occluder/1'"),
        ({"template": None}, "metadata lacks 'template'"),
        ({"template": "mine"}, "template 'mine' is none of"),
        ({"size": "big"}, "wrong metadata"),
        ({"size": "64"}, "input target is tensor(float) Nx3x32x32, not tensor(float) Nx3x64x64"),
        ({"embedding_size": "128"}, "its inputs are target, not source, target"),
        ({"normalisation": "x / 255"}, "normalisation is 'x / 255'"),
        ({"gate": "[1]"}, "wrong metadata"),
    ],
)
def test_load_swapper_wrong_metadata_raises(swapper_file, values, words):
    assert words in error_message(changed(swapper_file, lambda model: props(model, **values)))


def test_load_swapper_wrong_tensor_names_raises(swapper_file):
    def rename(model):
        model.graph.output[1].name = model.graph.node[-1].output[0] = "matte"

    assert "its outputs are matte, output, not mask, output" in error_message(changed(swapper_file, rename))
