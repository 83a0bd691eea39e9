"""Differentiable recognisers against onnxruntime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from skimage.data import astronaut
from torch import Tensor, nn

from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import SFaceEmbedder
from facesmith.faces.analyzers.onnx_graph import fold_constants
from facesmith.faces.geometry import alignment
from facesmith.models.recognisers import FACERES_MEANS, ArcFace, Faceres, SFace, convert_faceres

Asset = Callable[[str], Path]

# The astronaut's five points, so that no analyzer need start here.
FIVE = np.array([[203.0, 101], [246, 103], [223, 131], [202, 139], [245, 140]])


def crop(template: str, size: int) -> np.ndarray:
    return alignment.warp_face(astronaut(), alignment.estimate_alignment(FIVE, template, size), size)


def tensor(crops: np.ndarray) -> Tensor:
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.fixture(scope="module")
def sface(asset: Asset) -> SFace:
    return SFace(asset("sface.onnx"))


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    return np.concatenate([noise, crop("arcface_112_v2", 112)[None]])


def test_sface_on_noise_and_face_equals_onnxruntime(sface: SFace, crops: np.ndarray, asset: Asset) -> None:
    model = fold_constants(asset("sface.onnx"))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    raw = np.concatenate(
        [session.run(None, {"data": each.transpose(2, 0, 1)[None].astype(np.float32)})[0] for each in crops]
    )
    with torch.no_grad():
        assert np.abs(sface(tensor(crops)).numpy() - raw).max() <= 1e-4
        assert np.abs(sface.embed(tensor(crops)).numpy() - SFaceEmbedder(asset("sface.onnx"))(crops)).max() <= 1e-4


def test_recogniser_128_crop_embeds_like_112_crop(sface: SFace) -> None:
    with torch.no_grad():
        wide = sface.embed(tensor(crop("arcface_128", 128)[None]))
        narrow = sface.embed(tensor(crop("arcface_112_v2", 112)[None]))
    assert float((wide * narrow).sum()) > 0.999
    assert float(wide.norm()) == pytest.approx(1, abs=1e-5)


def test_recogniser_wrong_size_raises(sface: SFace) -> None:
    with pytest.raises(ValueError, match="112"):
        sface.embed(torch.zeros(1, 3, 64, 64))


def test_recogniser_is_frozen_and_stays_in_eval_mode(sface: SFace) -> None:
    owner = nn.ModuleDict({"recogniser": sface}).train()
    assert owner.training
    assert not sface.training
    assert not list(sface.parameters())
    assert not sface.state_dict()
    assert sface.embedding_size == 128


def test_recogniser_gradient_moves_picture_towards_face(sface: SFace, crops: np.ndarray) -> None:
    goal = sface.embed(tensor(crops[3:])).detach()
    picture = tensor(crops[:1]).requires_grad_()
    before = (sface.embed(picture) * goal).sum()
    before.backward()
    assert picture.grad is not None
    assert torch.isfinite(picture.grad).all()
    assert float(picture.grad.abs().sum()) > 0
    after = (sface.embed(picture.detach() + 0.2 * picture.grad.sign()) * goal).sum()
    assert float(after) > float(before.detach()) + 0.1


def test_faceres_in_onnx_and_torch_computes_what_tensorflow_js_does() -> None:
    picture = crop("arcface_128", 224)
    scaled = (picture[..., ::-1].astype(np.float32) - np.array(FACERES_MEANS, np.float32)).transpose(2, 0, 1)[None]
    session = onnxruntime.InferenceSession(convert_faceres().SerializeToString(), providers=["CPUExecutionProvider"])
    (raw,) = session.run(None, {"input": scaled})
    # TensorFlow.js 4.22 on its cpu backend, of the same picture
    found = raw[0] / np.linalg.norm(raw)
    places = [729, 900, 100, 421, 359, 463]
    assert found[places] == pytest.approx([0.15202, 0.1372, 0.12612, 0.12191, 0.11662, 0.11468], abs=2e-5)
    given = tensor(picture[None]).requires_grad_()
    embedded = Faceres().embed(given)
    assert np.abs(embedded.detach().numpy()[0] - found).max() < 1e-5
    embedded[:, places].sum().backward()
    assert given.grad is not None
    assert float(given.grad.abs().sum()) > 0


class Block(nn.Module):
    """A block of insightface's iresnet, written as its training code writes it."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before, eps=1e-5)
        self.conv1 = nn.Conv2d(before, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps=1e-5)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width, eps=1e-5)
        self.downsample = (
            nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            if stride > 1 or before != width
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(y)) + self.downsample(x)


class IResNet(nn.Module):
    def __init__(self, widths: list[int], depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(3, widths[0], 3, 1, 1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.PReLU(widths[0]),
        ]
        before = widths[0]
        for width in widths:
            for index in range(depth):
                layers.append(Block(before, width, 2 if index == 0 else 1))
                before = width
        self.body = nn.Sequential(*layers)
        self.tail = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(before * 49, 512),
            nn.BatchNorm1d(512),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.body(x))


@pytest.fixture(scope="module", params=[False, True], ids=["as_trained", "batch_norms_folded"])
def iresnet_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = IResNet([8, 16, 24, 32], depth=2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.05, 0.4)
    path = tmp_path_factory.mktemp("iresnet") / "w600k_r50.onnx"
    torch.onnx.export(
        net.eval(),
        (torch.zeros(1, 3, 112, 112),),
        str(path),
        input_names=["input.1"],
        dynamo=False,
        opset_version=11,
        training=torch.onnx.TrainingMode.EVAL if request.param else torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=request.param,
    )
    return path


def test_arcface_on_iresnet_equals_onnxruntime(iresnet_file: Path, crops: np.ndarray) -> None:
    arcface = ArcFace(iresnet_file)
    session = onnxruntime.InferenceSession(str(iresnet_file), providers=["CPUExecutionProvider"])
    pictures = tensor(crops)
    theirs = np.concatenate([session.run(None, {"input.1": each[None].numpy()})[0] for each in pictures])
    with torch.no_grad():
        ours = arcface(pictures).numpy()
    assert np.abs(ours - theirs).max() <= 1e-4 * max(1.0, np.abs(theirs).max())
    assert arcface.embedding_size == 512
    unit = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    with torch.no_grad():
        assert np.abs(arcface.embed(pictures).numpy() - unit).max() <= 1e-4
    pictures.requires_grad_()
    arcface.embed(pictures)[:, 0].sum().backward()
    assert pictures.grad is not None
    assert float(pictures.grad.abs().sum()) > 0


def test_recogniser_wrong_file_raises(asset: Asset, tmp_path: Path) -> None:
    text = tmp_path / "recogniser.onnx"
    text.write_text("not a model")
    with pytest.raises(UserError, match=r"recogniser\.onnx: cannot be read"):
        ArcFace(text)
    with pytest.raises(UserError, match="outputs"):
        ArcFace(asset("yunet.onnx"))
