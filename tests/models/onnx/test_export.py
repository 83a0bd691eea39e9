import zlib

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from facesmith.errors import UserError
from facesmith.models.onnx.export import export
from facesmith.models.onnx.export_spec import ExportError, ExportSpec
from facesmith.models.onnx.info import SwapperInfo
from facesmith.models.onnx.session import load_swapper
from facesmith.models.swapper.generator import composite

SIZE = 32


class Small(nn.Module):
    """A target-only swapper with the operators of the real ones."""

    def __init__(self, random: float = 0.0) -> None:
        super().__init__()
        self.random = random
        self.trunk = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 16, 1),
            nn.PixelShuffle(2),
        )
        self.register_buffer("texture", torch.rand(1, 3, SIZE, SIZE) * 2 - 1)
        line = torch.linspace(-1, 1, SIZE)
        self.register_buffer("grid", torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)[None])

    def forward(self, target: Tensor) -> tuple[Tensor, Tensor]:
        flow = self.trunk(target)[:, :2].permute(0, 2, 3, 1) * 0.1
        texture = self.texture.expand(target.shape[0], -1, -1, -1)
        face = nn.functional.grid_sample(texture, self.grid + flow, padding_mode="border", align_corners=True)
        radius = self.grid.square().sum(-1)[:, None].expand(target.shape[0], -1, -1, -1)
        picture, mask = composite(face, torch.sigmoid(9 * (0.6 - radius)), target)
        return picture + self.random * torch.rand_like(picture), mask


class Conditioned(Small):
    """The same with an identity."""

    def __init__(self) -> None:
        super().__init__()
        self.colour = nn.Linear(8, 3)

    def forward(self, target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        picture, mask = super().forward(target)
        return torch.lerp(
            picture, torch.tanh(self.colour(source))[:, :, None, None].expand_as(picture), 0.5 * mask
        ), mask


def spec_of(module: nn.Module, embedding_size: int | None = None) -> ExportSpec:
    contract = SwapperInfo(
        "arcface_128",
        SIZE,
        "sface",
        embedding_size,
        "ada",
        "written",
        "signed",
        "key1",
        42,
        {"val/nme": 0.031},
    )
    inputs = {"target": torch.rand(1, 3, SIZE, SIZE) * 2 - 1}
    if embedding_size:
        inputs["source"] = nn.functional.normalize(torch.randn(1, embedding_size), dim=-1)
    return ExportSpec(module.eval(), inputs, ["output", "mask"], contract.metadata())


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    module = Small()
    return module, export(spec_of(module), tmp_path_factory.mktemp("exports") / "new" / "ada.onnx")


def test_export_any_batch_size_equals_torch(exported):
    module, report = exported
    assert 0 < report.parity <= 1e-4
    assert report.cases == 12
    crops = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
    picture, mask = load_swapper(report.path)(crops)
    with torch.no_grad():
        expected, expected_mask = module(torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1)
    expected = ((expected + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(picture - expected).max() < 0.51
    assert np.abs(mask - expected_mask[:, 0].numpy()).max() < 1e-4


def test_export_hash_is_crc32_without_newline(exported):
    _, report = exported
    data = report.path.read_bytes()
    assert report.hash_path.read_bytes() == format(zlib.crc32(data), "08x").encode()
    assert report.bytes == len(data)


def test_export_metadata_holds_contract_and_no_paths(exported):
    _, report = exported
    model = onnx.load(report.path)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["contract"] == "facesmith/swapper/1"
    assert said["consent"] == "written"
    assert "synthetic media" in said["notice"]
    assert SwapperInfo.from_metadata(said, report.path).gate == {"val/nme": 0.031}
    assert __file__.encode() not in report.path.read_bytes()
    assert b"site-packages" not in report.path.read_bytes()


def test_export_card_states_consent_and_limits(exported):
    card = exported[1].card_path.read_text()
    for words in (
        "Biometric material",
        "recognisable pictures",
        "synthetic media",
        "42 faces",
        "val/nme",
        "0.031",
        "signed",
    ):
        assert words in card


def test_export_identity_stays_input(tmp_path):
    torch.manual_seed(0)
    report = export(spec_of(Conditioned(), 8), tmp_path / "any.onnx")
    model = load_swapper(report.path)
    crops = np.full((2, SIZE, SIZE, 3), 128, np.uint8)
    first, _ = model(crops, np.eye(8, dtype=np.float32)[0])
    other, _ = model(crops, np.eye(8, dtype=np.float32)[1])
    assert np.abs(first.astype(int) - other).max() > 2
    with pytest.raises(ValueError, match="source is missing"):
        model(crops)


def test_export_graph_unlike_torch_is_not_written(tmp_path):
    with pytest.raises(ExportError, match="'output' of the graph differs from torch"):
        export(spec_of(Small(random=0.01)), tmp_path / "noisy.onnx")
    assert not list(tmp_path.iterdir())


class FixedBatch(Small):
    def forward(self, target: Tensor) -> tuple[Tensor, Tensor]:
        picture, mask = super().forward(target)
        return picture + torch.zeros(len(target), 1, 1, 1), mask


def test_export_of_a_diverged_network_says_so_in_one_line(tmp_path):
    module = Small().eval()
    with torch.no_grad():
        module.texture.fill_(float("nan"))
    with pytest.raises(UserError, match=r"not finite on .*lower model\.optimizer\.lr") as caught:
        export(spec_of(module), tmp_path / "small.onnx", opset=18)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_export_fixed_batch_module_raises(tmp_path):
    with pytest.raises(ExportError, match="batch"):
        export(spec_of(FixedBatch()), tmp_path / "fixed.onnx")
    assert not list(tmp_path.iterdir())


def test_export_does_not_change_module(tmp_path):
    spec = spec_of(Small())
    spec.module.train()
    export(spec, tmp_path / "small.onnx", dynamic_batch=False)
    assert spec.module.training
    assert all(parameter.requires_grad for parameter in spec.module.parameters())


def test_export_without_contract_raises(tmp_path):
    spec = spec_of(Small())
    with pytest.raises(UserError, match="no contract"):
        export(ExportSpec(spec.module, spec.inputs, spec.outputs, {}), tmp_path / "bare.onnx")
