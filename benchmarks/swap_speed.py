"""CPU time of one swapped 128 px face on one thread: python benchmarks/swap_speed.py.

The naive graph samples all K textures (3K channels) where the flow says and mixes them per pixel; the
product's mixes first and samples three channels. Both do the same up to rounding at the borders of regions.
`aad` is the identity-conditioned generator in its fast size.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith.models.onnx.export import export
from facesmith.models.onnx.export_spec import ExportReport, ExportSpec
from facesmith.models.onnx.info import MASK, OUTPUT, SOURCE, TARGET, SwapperInfo
from facesmith.models.swapper.aad import Aad
from facesmith.models.swapper.colour import from_opponent
from facesmith.models.swapper.generator import ExportWrapper, SwapOutput
from facesmith.models.swapper.texture_warp import TextureWarp

SIZE = 128


class Naive(nn.Module):
    """The same network, but it warps every texture and mixes per pixel."""

    embedding_size = None

    def __init__(self, network: TextureWarp) -> None:
        super().__init__()
        self.network = network

    def forward(self, target: Tensor, source: Tensor | None = None) -> SwapOutput:
        """Swap target crops, as TextureWarp does."""
        network = self.network
        _, mask, aux = network(target)
        side, size, batch = network.textures.shape[-1], target.shape[-1], target.shape[0]
        layers = torch.cat([network.textures.reshape(1, -1, side, side), network.regions], 1)
        if side > size:
            layers = F.avg_pool2d(layers, side // size)
        layers = layers.expand(batch, -1, -1, -1)
        where = aux["flow"].permute(0, 2, 3, 1)
        warped = F.grid_sample(layers, where, mode="bilinear", padding_mode="border", align_corners=False)
        regions = warped[:, -network.regions.shape[1] :].flatten(2)
        shares = torch.softmax(aux["mix"], 2).transpose(1, 2) @ regions
        textures = warped[:, : -network.regions.shape[1]].view(batch, network.count, 3, size, size)
        sampled = (textures * shares.view(batch, network.count, 1, size, size)).sum(1)
        face = from_opponent(sampled * aux["contrast"].exp()[:, :, None, None] + aux["light"])
        return SwapOutput(face.clamp(-1, 1), mask, aux)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--textures", type=int, default=8)
    parser.add_argument("--texture-size", type=int, default=128)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = {"size": SIZE, "textures": arguments.textures, "texture_size": arguments.texture_size}
    ours = TextureWarp(**shape, channels=(16, 32, 64, 128), blocks=2)
    pictures = torch.randint(0, 256, (arguments.textures, arguments.texture_size, arguments.texture_size, 3))
    regions = torch.zeros(2, arguments.texture_size, arguments.texture_size)
    third = arguments.texture_size // 3
    regions[0, :third], regions[1, 2 * third :] = 1, 1
    ours.set_textures(pictures.to(torch.uint8), regions, torch.ones_like(regions[0]))
    naive = Naive(ours)
    with torch.no_grad():
        ours.geometry.bias[8:] = 2  # an untrained mask is nowhere, and would leave nothing to compare
    aad = Aad(
        size=SIZE,
        embedding_size=128,
        encoder_channels=[24, 48, 96, 160],
        decoder_channels=[160, 128, 64, 32],
        convolutions=1,
        unshuffle=2,
        finest_skip=32,
        checkpointing=False,
    )
    figures = {}
    for name, generator in (("naive", naive), ("texture_warp", ours), ("aad fast", aad)):
        with tempfile.TemporaryDirectory() as folder:
            report = write(generator, Path(folder, "model.onnx"))
            figures[name] = cpu_milliseconds(report.path, arguments.runs)
        print(
            f"{name:<13}{figures[name]:6.1f} CPU-ms a face   {report.bytes / 1e6:5.1f} MB   parity {report.parity:.0e}"
        )
    ratio = figures["naive"] / figures["texture_warp"]
    print(f"texture_warp is {ratio:.1f}x cheaper than the naive graph; limit 20 CPU-ms")


def write(generator: nn.Module, path: Path) -> ExportReport:
    inputs = {TARGET: torch.rand(1, 3, SIZE, SIZE) * 2 - 1}
    if generator.embedding_size:
        inputs[SOURCE] = F.normalize(torch.randn(1, 128), dim=-1)
    embedding = 128 if generator.embedding_size else None
    contract = SwapperInfo("arcface_128", SIZE, "sface", embedding, "noise", "synthetic", "random textures", "", 0)
    return export(ExportSpec(ExportWrapper(generator).eval(), inputs, [OUTPUT, MASK], contract.metadata()), path)


def cpu_milliseconds(path: Path, runs: int) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    feed = {TARGET: random.uniform(-1, 1, (1, 3, SIZE, SIZE)).astype(np.float32)}
    if len(session.get_inputs()) > 1:
        feed[SOURCE] = (random.normal(size=(1, 128)) / 11).astype(np.float32)
    times = []
    for _ in range(runs + 5):
        before = time.process_time()
        session.run(None, feed)
        times.append(time.process_time() - before)
    return 1000 * statistics.median(times[5:])


if __name__ == "__main__":
    main()
