"""The networks by which published face swapping results are measured, for `casia.py` and `ffpp.py`.

Written anew after the papers and the layout of the published weights; the weights are the user's. A weights file is
read with `weights_only=True`: nothing in it is run.
"""

import hashlib
import pickle
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import safetensors.torch
import scipy.io
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from facesmith.errors import UserError

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]

COSFACE: Final = "CosFace_ACC99.28.pth"
HOPENET: Final = "hopenet_robust_alpha1.pkl"
DDFA: Final = "phase1_wpdc_vdc.pth.tar"
INCEPTION: Final = "pt_inception-2015-12-05-6726825d.pth"
FACEWAREHOUSE: Final = "th_model_params.pth"
MEAN_FACE: Final = "BFM_similarity_Lm3D_all.mat"
DINO: Final = "dino_vitbase16_pretrain.pth"
CLIP: Final = ("model.safetensors", "pytorch_model.bin")  # of openai/clip-vit-base-patch32

_COSFACE_POINTS: Final = np.array(  # of 96 x 112 px: eyes, nose, corners of the mouth
    [[30.2946, 51.6963], [65.5318, 51.6963], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.3655]]
)
_COSFACE_SIZE: Final = (96, 112)
_BINS, _DEGREES, _FIRST = 66, 3, -99  # of HopeNet
_EXPRESSION: Final = slice(52, 62)  # of 3DDFA's 62 numbers: 12 of pose, 40 of shape, 10 of expression
_COEFFICIENTS: Final = {"id": 80, "ex": 64, "tex": 80, "angles": 3, "gamma": 27, "XY": 2, "Z": 1}
_COUNTED: Final = 29  # of the 64 of expression, by CASIA's code
_MEAN_FACE_SIZE: Final = 102  # px, of the face in 224 px
_EYES_NOSE_MOUTH: Final = ((36, 39), (42, 45), (30, 30), (48, 48), (54, 54))  # of 68 points, averaged by two


class CosFace(nn.Module):
    """CosFace's sphere20 without its margin. Source: Wang et al., CosFace, 2018."""

    def __init__(self) -> None:
        super().__init__()
        sizes, counts = (3, 64, 128, 256, 512), (1, 2, 4, 1)
        for number, count in enumerate(counts, 1):
            inside, outside = sizes[number - 1 : number + 1]
            first = [nn.Conv2d(inside, outside, 3, 2, 1), nn.PReLU(outside)]
            setattr(self, f"layer{number}", nn.Sequential(*first, *(_SphereBlock(outside) for _ in range(count))))
        self.fc = nn.Linear(512 * 7 * 6, 512)

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute (N,512) of pictures (N,3,112,96) RGB -1..1."""
        for number in (1, 2, 3, 4):
            pictures = getattr(self, f"layer{number}")(pictures)
        return self.fc(pictures.flatten(1))

    @torch.inference_mode()
    def embed(self, picture: Pixels, keypoints: Floats) -> NDArray[np.float64]:
        """Compute the embedding (1024,) of a face and its mirror image, L2-normalised.

        Args:
            picture: (H,W,3) RGB.
            keypoints: (5,2) px.
        """
        face = align_cosface(picture, keypoints)
        both = np.stack([face, face[:, ::-1]])
        found = self(torch.from_numpy(both.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1).numpy().ravel()
        return np.asarray(found / np.linalg.norm(found), np.float64)


class _SphereBlock(nn.Module):
    def __init__(self, planes: int) -> None:
        super().__init__()
        for number in (1, 2):
            setattr(self, f"conv{number}", nn.Conv2d(planes, planes, 3, padding=1, bias=False))
            setattr(self, f"prelu{number}", nn.PReLU(planes))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.prelu2(self.conv2(self.prelu1(self.conv1(x))))


class HopeNet(torchvision.models.ResNet):
    """HopeNet: a ResNet-50 that sorts yaw, pitch and roll into bins of 3 degrees. Source: Ruiz et al., 2018."""

    def __init__(self) -> None:
        super().__init__(torchvision.models.resnet.Bottleneck, [3, 4, 6, 3])
        del self.fc
        for angle in ("yaw", "pitch", "roll"):
            setattr(self, f"fc_{angle}", nn.Linear(2048, _BINS))
        self.fc_finetune = nn.Linear(2048 + 3, 3)  # in the weights' file, not used

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute yaw, pitch, roll (N,3) in degrees of pictures (N,3,224,224), normalised as ImageNet's."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(pictures))))
        x = self.avgpool(self.layer4(self.layer3(self.layer2(self.layer1(x))))).flatten(1)
        numbers = torch.arange(_BINS, dtype=x.dtype)
        scores = torch.stack([head(x) for head in (self.fc_yaw, self.fc_pitch, self.fc_roll)], 1)
        return (functional.softmax(scores, -1) * numbers).sum(-1) * _DEGREES + _FIRST

    @torch.inference_mode()
    def angles(self, picture: Pixels) -> NDArray[np.float64]:
        """Compute (3,) degrees of a face (H,W,3) RGB, shrunk to 224 px as a whole.

        The published code hands the channels over as BGR, which is kept: other figures could not be compared.
        """
        small = cv2.resize(picture, (224, 224))[..., ::-1].astype(np.float32) / 255
        scaled = (small - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
        return self(torch.from_numpy(scaled).permute(2, 0, 1)[None].float())[0].double().numpy()


class Ddfa(nn.Module):
    """3DDFA's MobileNet. Source: Guo et al., Face Alignment in Full Pose Range, 2017."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        plan = {"2_1": (64, 1), "2_2": (128, 2), "3_1": (128, 1), "3_2": (256, 2), "4_1": (256, 1), "4_2": (512, 2)}
        plan |= {f"5_{number}": (512, 1) for number in range(1, 6)} | {"5_6": (1024, 2), "6": (1024, 1)}
        inside = 32
        for name, (outside, stride) in plan.items():
            setattr(self, f"dw{name}", _Separable(inside, outside, stride))
            inside = outside
        self.fc = nn.Linear(inside, 62)
        self._blocks = [f"dw{name}" for name in plan]

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute (N,62) of pictures (N,3,120,120) BGR, (x - 127.5) / 128."""
        x = functional.relu(self.bn1(self.conv1(pictures)))
        for name in self._blocks:
            x = getattr(self, name)(x)
        return self.fc(x.mean((2, 3)))

    @torch.inference_mode()
    def expression(self, picture: Pixels) -> NDArray[np.float64]:
        """Compute the ten numbers of the expression of a face (H,W,3) RGB, shrunk to 120 px as a whole."""
        small = cv2.resize(picture, (120, 120))[..., ::-1].astype(np.float32)
        return self(torch.from_numpy((small - 127.5) / 128).permute(2, 0, 1)[None])[0, _EXPRESSION].double().numpy()


class _Separable(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False)
        self.bn_dw = nn.BatchNorm2d(inside)
        self.conv_sep = nn.Conv2d(inside, outside, 1, bias=False)
        self.bn_sep = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn_sep(self.conv_sep(functional.relu(self.bn_dw(self.conv_dw(x))))))


class FaceWarehouse(torchvision.models.ResNet):
    """A ResNet-50 that finds the coefficients of a 3D face. Source: Deng et al., Accurate 3D Face Reconstruction, 2019.

    Its blocks halve the picture by their first convolution, as Caffe's do.

    Args:
        points: (5,3) of the mean face: eyes, nose, corners of the mouth.
    """

    def __init__(self, points: Floats) -> None:
        super().__init__(torchvision.models.resnet.Bottleneck, [3, 4, 6, 3])
        del self.fc
        self.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
        for layer in (self.layer2, self.layer3, self.layer4):
            layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)
        for name, count in _COEFFICIENTS.items():
            setattr(self, f"fc{name}", nn.Conv2d(2048, count, 1))
        self._points = points

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute the 64 numbers of the expression, (N,64), of pictures (N,3,224,224) BGR 0..255."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(pictures))))
        x = functional.avg_pool2d(self.layer4(self.layer3(self.layer2(self.layer1(x)))), 7, 1)
        return torch.as_tensor(self.fcex(x).flatten(1))

    @torch.inference_mode()
    def expression(self, picture: Pixels, keypoints: Floats) -> NDArray[np.float64]:
        """Compute the 29 numbers of the expression that count, of a face (H,W,3) RGB with keypoints (5,2) px."""
        crop = align_to_mean_face(picture, keypoints, self._points)[..., ::-1].astype(np.float32)
        return self(torch.from_numpy(crop.copy()).permute(2, 0, 1)[None])[0, :_COUNTED].double().numpy()


def read_mean_face(path: Path) -> Floats:
    """Read the five points (5,3) of the mean face: eyes, nose, corners of the mouth.

    Raises:
        UserError: The file is no table of 68 points.
    """
    try:
        points = np.asarray(scipy.io.loadmat(path)["lm"], np.float64)
    except (OSError, ValueError, KeyError, NotImplementedError, TypeError) as error:
        why = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: holds no points of a mean face ({why}); give the published file") from None
    if points.shape != (68, 3):
        raise UserError(f"{path}: holds points of shape {points.shape}, not (68, 3); give the published file")
    return np.stack([points[list(pair)].mean(0) for pair in _EYES_NOSE_MOUTH])


def align_to_mean_face(picture: Pixels, keypoints: Floats, points: Floats) -> Pixels:
    """Bring a face (H,W,3) to the middle and the size of a mean face, (224,224,3): the steps of the published code."""
    height, width = picture.shape[:2]
    upwards = np.c_[keypoints[:, 0], height - 1 - keypoints[:, 1]]
    found = np.linalg.lstsq(np.c_[points, np.ones(len(points))], upwards, rcond=None)[0]
    scale = float(np.linalg.norm(found[:3], axis=0).mean()) / _MEAN_FACE_SIZE
    moved = Image.fromarray(picture).transform(
        (width, height),
        Image.Transform.AFFINE,
        (1, 0, found[3, 0] - width / 2, 0, 1, height / 2 - found[3, 1]),
    )
    large = moved.resize((int(width / scale), int(height / scale)), Image.Resampling.BILINEAR)
    left, top = int(large.width / 2 - 112), int(large.height / 2 - 112)
    return np.asarray(large.crop((left, top, left + 224, top + 224)))


def align_cosface(picture: Pixels, keypoints: Floats) -> Pixels:
    """Bring a face (H,W,3) onto the template of CosFace, (112,96,3): the similarity of the published code."""
    ours, theirs = keypoints.astype(np.float64), _COSFACE_POINTS
    mean, goal = ours.mean(0), theirs.mean(0)
    scale, goal_scale = (ours - mean).std(), (theirs - goal).std()
    u, _, vt = np.linalg.svd(((ours - mean) / scale).T @ ((theirs - goal) / goal_scale))
    turn = goal_scale / scale * (u @ vt).T
    return np.asarray(cv2.warpAffine(picture, np.c_[turn, goal - turn @ mean], _COSFACE_SIZE), np.uint8)


def load_weights(network: nn.Module, path: Path, parts: tuple[str, ...] = ()) -> str:
    """Load published weights into a network and set it to eval.

    Args:
        network: Its weights are replaced.
        path: A file of tensors, also one whose names begin with `module.`, or with a `state_dict` inside.
        parts: Where given, only tensors whose names begin so are of the network.

    Returns:
        sha256 of the file.

    Raises:
        UserError: The file is missing, holds anything but tensors, or is of another network.
    """
    try:
        if path.suffix == ".safetensors":
            content = safetensors.torch.load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, safetensors.SafetensorError) as error:
        why = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: cannot be read as tensors ({why}); give the published weights") from None
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    try:
        tensors = {name.removeprefix("module."): value for name, value in content.items()}
        if parts:
            tensors = {name: value for name, value in tensors.items() if name.startswith(parts)}
        missing, unexpected = network.load_state_dict(tensors, strict=False)
    except (AttributeError, RuntimeError, TypeError) as error:
        why = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: holds another network than {type(network).__name__} ({why})") from None
    left = [name for name in (*missing, *unexpected) if not name.endswith(("num_batches_tracked", "position_ids"))]
    if left:
        raise UserError(f"{path}: holds another network than {type(network).__name__}: {left[0]} does not fit")
    network.eval()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
