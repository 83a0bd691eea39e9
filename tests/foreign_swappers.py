"""Small swappers in the manner of other projects' files, written as these were: by torch's older exporter."""

import io
import math
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn

from facesmith.models.onnx.info import FOREIGN

SIDE = {"inswapper": 128}


class Styled(nn.Module):
    """A convolution under reflected borders, normalised, and scaled and shifted by an embedding."""

    def __init__(self, width: int, told: int) -> None:
        super().__init__()
        self.conv, self.style = nn.Conv2d(width, width, 3), nn.Linear(told, 2 * width)

    def forward(self, x, told):
        x = self.conv(F.pad(x, (1, 1, 1, 1), mode="reflect"))
        x = x - x.mean((2, 3), keepdim=True)
        x = x * torch.rsqrt((x * x).mean((2, 3), keepdim=True) + 1e-8)
        scale, shift = self.style(told)[:, :, None, None].chunk(2, 1)
        return x * (scale + 1) + shift


class Modulated(nn.Module):
    """StyleGAN2's convolution: weights that the embedding scales, of a size learnt apart."""

    def __init__(self, width: int, told: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width, 3, 3))
        self.style = nn.Linear(told, width)

    def forward(self, x, told):
        weight = self.weight / 12 * (1 + self.style(told)[0])[None, :, None, None]
        return F.conv2d(x, weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8), padding=1)


class Even(nn.Module):
    """A linear layer of equalised learning rate, whose weight the graph computes."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(made, given)), nn.Parameter(torch.zeros(made))
        self.scale = 1 / math.sqrt(given)

    def forward(self, x):
        return F.linear(x, self.weight * self.scale, self.bias)


class Inswapper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 7), nn.LeakyReLU(0.2))
        self.down = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.LeakyReLU(0.2))
        self.styled, self.up, self.last = Styled(8, 512), nn.Conv2d(8, 6, 3, 1, 1), nn.Conv2d(6, 3, 7)

    def forward(self, target, source):
        x = self.down(self.first(F.pad(target, (3, 3, 3, 3), mode="reflect")))
        x = F.interpolate(x + torch.relu(self.styled(x, source)), scale_factor=2.0, mode="bilinear")
        return (torch.tanh(self.last(F.pad(F.leaky_relu(self.up(x), 0.2), (3,) * 4, mode="reflect"))) + 1) / 2


class Simswap(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 6, 3, 4, 1), nn.InstanceNorm2d(6, affine=True), nn.ReLU())
        self.styled = nn.ModuleList(Styled(6, 512) for _ in range(2))
        self.last = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, target, source):
        x = self.down(target)
        for block in self.styled:
            x = x + block(x, source)
        return torch.sigmoid(self.last(F.interpolate(x, scale_factor=4.0, mode="nearest")))


class Ghost(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(3, 4, 4, 2, 1, bias=False), nn.Conv2d(4, 6, 4, 2, 1, bias=False)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(6)])
        self.enter, self.gate = nn.ConvTranspose2d(512, 6, 2), nn.Conv2d(6, 1, 1)
        self.up, self.last = nn.ConvTranspose2d(6, 4, 4, 2, 1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, target, source):
        x = target
        for conv, norm in zip(self.down, self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), 0.1)
        told = F.interpolate(self.enter(source.reshape(source.shape[0], -1, 1, 1)), size=x.shape[2:], mode="bilinear")
        x = torch.sigmoid(self.gate(x)) * x + told
        x = F.interpolate(self.up(x), scale_factor=2.0, mode="bilinear", align_corners=True)
        return torch.tanh(self.last(x))


class Hififace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.GroupNorm(2, 8), nn.LeakyReLU(0.2))
        self.modulated, self.flow, self.last = Modulated(8, 512), nn.Conv2d(8, 2, 3, padding=1), nn.Conv2d(8, 3, 1)

    def forward(self, target, source):
        x = self.modulated(self.down(target), source) / 4
        places = torch.tanh(self.flow(x)).permute(0, 2, 3, 1)
        moved = F.grid_sample(x, places, padding_mode="border", align_corners=True)
        picture = self.last(F.interpolate(moved, scale_factor=4.0, mode="nearest"))
        return torch.tanh(torch.cat([picture[:, :1], picture[:, 1:].clamp(-2, 2)], 1))


class Hyperswap(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.see, self.know = nn.Conv2d(48, 8, 3, padding=1), nn.Linear(512, 8, bias=False)
        self.face, self.mask = nn.Conv2d(8, 48, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)

    def forward(self, target, source):
        seen = F.gelu(self.see(F.pixel_unshuffle(target, 4)))
        x = seen * (1 + self.know(source)[:, :, None, None])
        mask = torch.sigmoid(F.pixel_shuffle(self.mask(seen), 4))
        face = torch.tanh(F.pixel_shuffle(self.face(x), 4))
        return face * mask + target * (1 - mask), mask


class Blendswap(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.person = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2), nn.PReLU(6), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)
        )
        self.told, self.see = nn.Linear(6, 8), nn.Conv2d(3, 8, 3, 2, 1)
        self.apart, self.last = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 12, 1)

    def forward(self, target, source):
        told = F.normalize(self.told(self.person(source).flatten(1)))
        x = F.elu(self.apart(self.see(target))) + told[:, :, None, None]
        return torch.sigmoid(F.pixel_shuffle(self.last(F.hardswish(x)), 2))


class Uniface(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.see, self.look = nn.Conv2d(3, 8, 8, 8), nn.Conv2d(3, 8, 16, 16)
        self.ask, self.key, self.give, self.norm = Even(8, 8), Even(8, 8), nn.Linear(8, 8), nn.LayerNorm(8)
        self.blur = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, target, source):
        seen = self.see(target).flatten(2).transpose(1, 2)
        told = self.look(source).flatten(2).transpose(1, 2)
        heed = torch.softmax(self.ask(seen) @ self.key(told).transpose(1, 2) / 8**0.5, -1)
        x = self.norm(seen + self.give(heed @ told)).transpose(1, 2).reshape(-1, 8, 32, 32)
        x = self.blur(F.interpolate(self.blur(x), scale_factor=2.0, mode="bicubic"))
        return torch.tanh(self.last(F.interpolate(x, size=(256, 256), mode="bilinear")))


NETS = {
    "inswapper": (Inswapper, 11),
    "simswap": (Simswap, 11),
    "ghost": (Ghost, 13),
    "hififace": (Hififace, 16),
    "hyperswap": (Hyperswap, 15),
    "blendswap": (Blendswap, 14),
    "uniface": (Uniface, 17),
}


def write_foreign(folder: Path, name: str) -> Path:
    """Write `<name>.onnx`, batch 1, as its project's files look."""
    torch.manual_seed(0)
    network, opset = NETS[name]
    side, photo = SIDE.get(name, 256), FOREIGN[name][0].photo
    source = torch.rand(1, 3, photo[1], photo[1]) if photo else torch.rand(1, 512)
    outputs = ["output", "mask"] if name == "hyperswap" else ["output"]
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter is deprecated; the files that it wrote are not
        torch.onnx.export(
            network().eval(),
            (torch.rand(1, 3, side, side), source),
            data,
            input_names=["target", "source"],
            output_names=outputs,
            opset_version=opset,
            dynamo=False,
        )
    model = onnx.load_from_string(data.getvalue())
    if name == "inswapper":
        emap = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32) / 20
        model.graph.initializer.append(numpy_helper.from_array(emap, "buff2fs"))
    onnx.checker.check_model(model)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def write_converter(folder: Path) -> Path:
    """Write a crossface file: twice its input, and a half."""
    helper, shape = onnx.helper, [1, 512]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("input", "output")]
    weights = [numpy_helper.from_array(np.float32(each), name) for name, each in (("two", 2.0), ("half", 0.5))]
    nodes = [
        helper.make_node("Mul", ["input", "two"], ["double"]),
        helper.make_node("Add", ["double", "half"], ["output"]),
    ]
    graph = helper.make_graph(nodes, "crossface", values[:1], values[1:], weights)
    path = folder / "crossface.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
