"""Exports, run as the programs they are made for would run them."""

import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from facesmith.errors import UserError
from facesmith.faces.geometry.alignment import TEMPLATES
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.models.onnx.clients import XSEG_INPUT, XSEG_OUTPUT, XsegGraph, spec_for
from facesmith.models.onnx.export import export
from facesmith.models.onnx.export_spec import ExportSpec
from facesmith.models.onnx.info import SwapperInfo
from facesmith.models.onnx.occlusion import Occluder
from facesmith.models.onnx.session import load_swapper
from facesmith.models.swapper.generator import ExportWrapper, SwapGenerator, SwapOutput

from ...made_profiles import made_profile

SIZE = 64
ORIGIN = Path("last.ckpt")


class Disc(SwapGenerator):
    """A generator that lays a disc of one colour around the nose of its template, by a learnt-looking detour."""

    template = "arcface_128"
    size = SIZE
    embedding_size: int | None = None

    def __init__(self, radius: float = 0.12) -> None:
        super().__init__()
        x, y = TEMPLATES[self.template][2] * SIZE
        rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        away = ((columns - x) ** 2 + (rows - y) ** 2).sqrt() / SIZE
        self.register_buffer("disc", ((radius - away) * 30).clamp(-4, 4)[None, None])
        self.register_buffer("texture", torch.tensor([1.0, 0.0, -1.0])[None, :, None, None].expand(-1, -1, 8, 8))
        self.lights = nn.Conv2d(3, 2, 3, padding=1)
        self.tint = nn.Conv2d(3, 3, 1)
        nn.init.zeros_(self.tint.weight)
        nn.init.zeros_(self.tint.bias)

    def forward(self, target: Tensor, source: Tensor | None = None) -> SwapOutput:
        places = torch.tanh(self.lights(target)).permute(0, 2, 3, 1)
        texture = self.texture.expand(target.shape[0], -1, -1, -1)
        face = nn.functional.grid_sample(texture, places, padding_mode="border", align_corners=False)
        mask = torch.sigmoid(self.disc).expand(target.shape[0], -1, -1, -1)
        return SwapOutput(face + self.tint(target), mask, {})


class Told(Disc):
    """The same in the colour of the first three numbers of an embedding."""

    def __init__(self, embedding_size: int) -> None:
        super().__init__()
        self.embedding_size = embedding_size

    def forward(self, target: Tensor, source: Tensor | None = None) -> SwapOutput:
        assert source is not None
        colour = source[:, :3, None, None].expand(-1, -1, SIZE, SIZE)
        return SwapOutput(colour + 0 * target, super().forward(target).mask, {})


def spec_of(generator: nn.Module, embedder: str = "sface") -> ExportSpec:
    contract = SwapperInfo(
        "arcface_128",
        SIZE,
        embedder,
        generator.embedding_size,
        "ada",
        "written",
        "signed",
        "key1",
        42,
        {"val/nme": 0.03},
    )
    return ExportSpec(ExportWrapper(generator).eval(), {}, ["output", "mask"], contract.metadata())


def exported(folder: Path, client: str, generator: nn.Module, embedder="sface", profile=None, size=None, **settings):
    spec = spec_for(client, spec_of(generator, embedder), origin=ORIGIN, size=size, profile=profile)
    name = "ada.dfm" if client == "dfm" else f"{client}.onnx"
    return export(spec, folder / name, dynamic_batch=client != "hyperswap", hashed=client != "dfm", **settings)


@pytest.fixture(scope="module")
def dfm(tmp_path_factory):
    torch.manual_seed(0)
    return exported(tmp_path_factory.mktemp("dfm"), "dfm", Disc())


@pytest.fixture(scope="module")
def hyperswap(tmp_path_factory):
    torch.manual_seed(0)
    return exported(tmp_path_factory.mktemp("hyperswap"), "hyperswap", Disc())


def profile_of(embedder: str, size: int) -> IdentityProfile:
    mean = np.zeros(size, np.float32)
    mean[:3] = (0.6, 0.0, -0.8)
    return made_profile("bob", mean, embedder=embedder)


def test_dfm_export_runs_as_clients_run_it(dfm):
    session = onnxruntime.InferenceSession(str(dfm.path))
    assert [each.name for each in session.get_inputs()] == ["in_face:0"]
    _, height, width, channels = session.get_inputs()[0].shape
    assert (height, width, channels) == (256, 256, 3)
    names = ["out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0"]
    assert [each.name for each in session.get_outputs()] == names
    crop = np.full((1, 256, 256, 3), (0.2, 0.4, 0.6), np.float32)
    target_mask, face, source_mask = session.run(None, {"in_face:0": crop})
    assert target_mask.shape == source_mask.shape == (1, 256, 256, 1)
    np.testing.assert_array_equal(target_mask, source_mask)
    assert 0 <= target_mask.min() <= target_mask.max() <= 1
    # RGB 1, .5, 0 is BGR 0, .5, 1; and the disc lies around the nose of the client's template
    x, y = (TEMPLATES["dfl_whole_face"][2] * 256).round().astype(int)
    np.testing.assert_allclose(face[0, y, x], (0, 0.5, 1), atol=0.01)
    rows, columns = np.nonzero(target_mask[0, ..., 0] > 0.5)
    assert (columns.mean(), rows.mean()) == pytest.approx((x, y), abs=4)
    np.testing.assert_allclose(face[0, :20], crop[0, :20], atol=1e-5)


def test_dfm_export_writes_no_file_of_its_name(dfm):
    """FaceFusion takes each file of the folder, but for . and __, for the model of its stem."""
    beside = [p.name for p in dfm.path.parent.iterdir() if p.stem == "ada" and p != dfm.path]
    assert dfm.hash_path is None
    assert not [name for name in beside if name.endswith((".hash", ".onnx"))]


def test_load_swapper_exported_dfm_keeps_identity(dfm):
    model = load_swapper(dfm.path)
    assert (model.info.identity, model.info.consent, model.info.consent_note) == ("ada", "written", "signed")
    assert (model.info.template, model.info.size) == ("dfl_whole_face", 256)
    picture, mask = model(np.full((2, 256, 256, 3), 90, np.uint8))
    x, y = (TEMPLATES["dfl_whole_face"][2] * 256).round().astype(int)
    assert np.abs(picture[1, y, x].astype(int) - (255, 128, 0)).max() <= 3
    assert mask[1, y, x] > 0.99


def test_hyperswap_export_baked_takes_target_alone(hyperswap):
    session = onnxruntime.InferenceSession(str(hyperswap.path))
    assert {each.name: each.shape for each in session.get_inputs()} == {"target": [1, 3, 256, 256]}
    # FaceFusion walks the inputs and feeds by name, then takes output 0, batch item 0
    feed = {"target": np.full((1, 3, 256, 256), 0.3, np.float32), "source": np.ones((1, 512), np.float32)}
    given = {each.name: feed[each.name] for each in session.get_inputs()}
    output = session.run(None, given)[0][0]
    assert output.shape == (3, 256, 256)
    assert -1 <= output.min() <= output.max() <= 1
    x, y = (TEMPLATES["arcface_128"][2] * 256).round().astype(int)
    np.testing.assert_allclose(output[:, y, x], (1, 0, -1), atol=0.02)
    np.testing.assert_allclose(output[:, :20], 0.3, atol=1e-5)
    model = load_swapper(hyperswap.path)
    assert model.info.identity_baked_in
    assert model.info.identity == "ada"


def test_hyperswap_export_hash_is_what_client_compares(hyperswap):
    """It compares the raw text: a newline at the end would fail, and the client would delete the model."""
    digits = hyperswap.hash_path.read_text()
    assert digits == format(zlib.crc32(hyperswap.path.read_bytes()), "08x")
    assert len(hyperswap.hash_path.read_bytes()) == 8
    assert hyperswap.hash_path.stem == hyperswap.path.stem


def test_client_exports_state_contract_in_metadata_and_card(dfm, hyperswap):
    for report, words in (
        (dfm, ("in_face:0", "custom/", "dfl_whole_face", "DeepFaceLive", "no `.hash`")),
        (hyperswap, ("hyperswap.hash", "FaceFusion", "arcface_128")),
    ):
        card = report.card_path.read_text()
        for word in (*words, "Biometric material", "`written`: signed", "42 faces", "val/nme", "synthetic media"):
            assert word in card, word
        said = {entry.key: entry.value for entry in onnx.load(report.path).metadata_props}
        assert said["consent"] == "written"
        assert "synthetic media" in said["notice"]
        assert onnx.load(report.path).ir_version <= 8  # what DeepFaceLive's onnxruntime reads


@pytest.mark.slow
def test_hyperswap_export_arcface_keeps_source(tmp_path):
    report = exported(tmp_path, "hyperswap", Told(512), "arcface_w600k_r50")
    session = onnxruntime.InferenceSession(str(report.path))
    assert {each.name: each.shape for each in session.get_inputs()} == {
        "target": [1, 3, 256, 256],
        "source": [1, 512],
    }
    model = load_swapper(report.path)
    assert (model.info.embedder, model.info.embedding_size) == ("arcface_w600k_r50", 512)
    picture, _ = model(np.full((1, 256, 256, 3), 90, np.uint8), profile_of("arcface_w600k_r50", 512).mean)
    x, y = (TEMPLATES["arcface_128"][2] * 256).round().astype(int)
    np.testing.assert_allclose(picture[0, y, x], (204, 128, 26), atol=2)


def test_spec_for_profile_bakes_identity_in(tmp_path):
    report = exported(tmp_path, "facesmith", Told(8), profile=profile_of("sface", 8))
    model = load_swapper(report.path)
    assert (model.info.identity_baked_in, model.info.identity, model.info.consent) == (True, "bob", "self")
    picture, _ = model(np.full((2, SIZE, SIZE, 3), 90, np.uint8))
    x, y = (TEMPLATES["arcface_128"][2] * SIZE).round().astype(int)
    np.testing.assert_allclose(picture[1, y, x], (204, 128, 26), atol=2)


def test_export_fp16_within_tolerance_with_float32_inputs(tmp_path):
    torch.manual_seed(0)
    report = exported(tmp_path, "hyperswap", Disc(), precision="fp16")
    assert 0 < report.parity <= report.tolerance == 0.02
    model = onnx.load(report.path)
    floats = onnx.TensorProto.FLOAT
    assert {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)} == {floats}
    weights = {each.name: each.data_type for each in model.graph.initializer}
    assert any("tint" in name and kind == onnx.TensorProto.FLOAT16 for name, kind in weights.items())
    assert any("lights" in name and kind == floats for name, kind in weights.items())
    assert "float16 inside" in report.card_path.read_text()
    picture, _ = load_swapper(report.path)(np.full((1, 256, 256, 3), 90, np.uint8))
    assert (picture[0, :20] == 90).all()


@pytest.mark.parametrize(
    ("client", "generator", "embedder", "profile", "size", "words"),
    [
        ("dfm", Told(8), "sface", None, None, "to=dfm: last.ckpt takes any identity, a .dfm none; give profile="),
        ("hyperswap", Told(8), "sface", None, None, "takes sface (8), FaceFusion gives arcface_w600k_r50 (512)"),
        ("hyperswap", Disc(), "sface", None, 128, "size=128: FaceFusion's slot is 256 px"),
        ("dfm", Disc(), "sface", profile_of("sface", 8), None, "has its identity baked in; omit profile"),
        ("dfm", Told(8), "sface", profile_of("arcface_w600k_r50", 512), None, "embedders cannot be mixed"),
    ],
)
def test_spec_for_unfit_model_raises(client, generator, embedder, profile, size, words):
    with pytest.raises(UserError) as caught:
        spec_for(client, spec_of(generator, embedder), origin=ORIGIN, size=size, profile=profile)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


class RedHides(nn.Module):
    """An occluder of RGB -1..1: visible where there is no red, wherever landmarks are."""

    def find_landmarks(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        return pictures.new_zeros(pictures.shape[0], 478, 3), pictures.new_ones(pictures.shape[0])

    def forward(self, pictures: Tensor, landmarks: Tensor, presence: Tensor) -> Tensor:
        return (1 - pictures[:, :1]) / 2 * presence[:, None, None, None]


def test_xseg_export_keeps_contract(tmp_path):
    spec = ExportSpec(
        XsegGraph(RedHides()),
        {XSEG_INPUT: torch.zeros(1, 256, 256, 3)},
        [XSEG_OUTPUT],
        {"contract": "facesmith/xseg/1"},
        pictures="bgr",
        mask=XSEG_OUTPUT,
        card=lambda report: f"# {report.path.stem}\n",
    )
    report = export(spec, tmp_path / "xseg_1.onnx")
    session = onnxruntime.InferenceSession(str(report.path))
    assert [each.name for each in session.get_inputs()] == ["input"]
    assert session.get_inputs()[0].shape[1:] == [256, 256, 3]
    crop = np.zeros((1, 256, 256, 3), np.uint8)
    crop[:, :, :128, 0] = 255
    mask = Occluder(report.path)(crop, 256)
    assert mask[0, 128, 60] == 0
    assert mask[0, 128, 200] == 1
    assert report.hash_path.read_text() == format(zlib.crc32(report.path.read_bytes()), "08x")
