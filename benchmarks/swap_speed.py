"""CPU time of one swapped face through the ONNX file, on one thread: python benchmarks/swap_speed.py.

`mesh_warp` of the carphone man at 128, 256 and 512 px, with its own landmark network and with landmarks fed, and `aad`
in its fast size with random weights.
"""

import argparse
import statistics
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor

from facesmith.assets import fetch
from facesmith.cli.composition import load_config
from facesmith.config.schema import TrainConfig
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.canonical import build_person_pictures
from facesmith.faces.face import keypoints_from_landmarks
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, warp_face
from facesmith.media.video import open_video
from facesmith.models.onnx.export import export
from facesmith.models.onnx.export_spec import ExportReport, ExportSpec
from facesmith.models.onnx.info import LANDMARKS, MASK, OUTPUT, SOURCE, TARGET, SwapperInfo
from facesmith.models.onnx.landmark_input import landmark_example
from facesmith.models.swapper.generator import ExportWrapper, SwapGenerator

FRAMES = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    networks = {f"mesh_warp {size}": mesh_warp(size) for size in (128, 256, 512)}
    for name, network in {**networks, "aad_fast 128": _built("model/generator=aad_fast")}.items():
        face = F.interpolate(portrait(), size=(network.size, network.size), mode="bilinear", antialias=True)
        with tempfile.TemporaryDirectory() as folder:
            report = write(network, Path(folder, "model.onnx"), "carphone")
            feeds = {name: {TARGET: face.numpy()}}
            if network.takes_landmarks:
                landmarks = man(network.size).landmarks[:1] + np.array([0.5, 0.5, 0], np.float32)
                feeds[f"{name}, fed"] = {TARGET: face.numpy(), LANDMARKS: landmarks}
            for row, feed in feeds.items():
                spent = cpu_milliseconds(report.path, feed, arguments.runs)
                print(
                    f"{row:<19}{spent:6.1f} CPU-ms a face   {report.bytes / 1e6:5.1f} MB   parity {report.parity:.0e}"
                )


def mesh_warp(size: int) -> SwapGenerator:
    """Return the untrained swapper of the carphone man."""
    network: Any = _built(f"model.generator.size={size}")
    parts = vars(build_person_pictures(man(size), network.count))
    network.set_pictures(**{name: torch.from_numpy(part) for name, part in parts.items()})
    return network


@cache
def man(size: int) -> AlignedFaces:
    """Return some faces of the carphone man."""
    analyzer = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.6)
    found = []
    with open_video(fetch("carphone_pristine.mp4")) as video:
        for _, frame in video.frames(range(0, len(video), len(video) // FRAMES)):
            face = analyzer(frame)[0]
            matrix = estimate_alignment(keypoints_from_landmarks(face.landmarks), "arcface_128", size)
            points = transform_points(face.landmarks, matrix).astype(np.float32)
            crop = warp_face(frame, matrix, size)
            found.append(AlignedFaces(crop[None], points[None], face.blendshapes[None], "arcface_128"))
    analyzer.close()
    return AlignedFaces.concat(found)


def portrait() -> Tensor:
    """Return a face (1,3,256,256) RGB -1..1: noise shows none, which is cheaper to change nothing in."""
    return torch.from_numpy(man(256).images[:1]).permute(0, 3, 1, 2).float() / 127.5 - 1


def write(generator: SwapGenerator, path: Path, identity: str) -> ExportReport:
    """Export a network."""
    inputs = {TARGET: torch.rand(1, 3, generator.size, generator.size) * 2 - 1}
    if generator.embedding_size:
        inputs[SOURCE] = F.normalize(torch.randn(1, generator.embedding_size), dim=-1)
    contract = SwapperInfo(
        "arcface_128",
        generator.size,
        "sface",
        generator.embedding_size,
        identity,
        "licensed",
        "a benchmark",
        takes_landmarks=generator.takes_landmarks,
    )
    optional = landmark_example() if generator.takes_landmarks else {}
    module = ExportWrapper(generator).eval()
    return export(ExportSpec(module, inputs, [OUTPUT, MASK], contract.metadata(), optional=optional), path)


def cpu_milliseconds(path: Path, feed: dict[str, np.ndarray], runs: int) -> float:
    """Return the median time of a face through a file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    if SOURCE in {each.name for each in session.get_inputs()}:
        feed[SOURCE] = (np.random.default_rng(0).normal(size=(1, 128)) / 11).astype(np.float32)
    times = []
    for _ in range(runs + 5):
        before = time.process_time()
        session.run(None, feed)
        times.append(time.process_time() - before)
    return 1000 * statistics.median(times[5:])


def _built(override: str) -> SwapGenerator:
    given = ["experiment=identity", "data.source=none", "data.name=benchmark", "data.consent=licensed", override]
    network: SwapGenerator = load_config("train", TrainConfig, given).model.generator.build()
    return network.eval()


if __name__ == "__main__":
    main()
