"""What it costs that a base is only a file: a step through it against a step through the network it was exported from.

    python benchmarks/onnx_base.py last.ckpt ada.onnx [--rounds 7] [--batch 4]

The two are timed in turns, forward and backward to the weights of a LoRA on the same layers, and the median of the
rounds' ratios is printed; then how far apart their pictures are, and the same for a base that is the file of a merged
adapter beside the untouched one, through onnxruntime (claim: 1.02).
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from facesmith.config.adapters import LoraSettings
from facesmith.models.adapters.lora import add_lora, merge_lora
from facesmith.models.checkpoint import load_module
from facesmith.models.onnx.swapper_file import read_info
from facesmith.models.onnx.to_torch.generator import load_generator
from facesmith.models.swapper.generator import ExportWrapper

LORA = {"rank": 8, "alpha": None, "dropout": 0.0, "rslora": False, "dora": False}


def ratio(first: Callable[[], Any], second: Callable[[], Any], rounds: int) -> float:
    """Median of second / first, in turns."""
    found = []
    for each in (first, second):
        each()
    for _ in range(rounds):
        times = []
        for each in (first, second):
            started = time.process_time()
            each()
            times.append(time.process_time() - started)
        found.append(times[1] / times[0])
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=4)
    given = parser.parse_args()
    torch.set_num_threads(1)
    base = load_generator(read_info(given.file))
    tuned: Any = copy.deepcopy(base)
    names = add_lora(tuned, LoraSettings(**LORA, targets=None))
    network: Any = load_module(given.checkpoint).generator
    add_lora(network, LoraSettings(**LORA, targets=[name.removeprefix("graph.generator.") for name in names]))
    target = torch.rand(given.batch, 3, base.size, base.size) * 2 - 1
    source = torch.nn.functional.normalize(torch.ones(given.batch, base.embedding_size or 1))
    shown = ExportWrapper(network)

    def step(forward: Callable[[], torch.Tensor]) -> Callable[[], None]:
        return lambda: forward().square().mean().backward()

    found = ratio(step(lambda: shown(target, source)[0]), step(lambda: tuned(target, source).face), given.rounds)
    with torch.no_grad():
        apart = float((shown(target, source)[0] - tuned(target, source).face).abs().max())
        for name, value in tuned.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.01)
    print(f"step through the file / through its network: {found:.2f}; pictures apart by {apart:.0e}")
    whole: Any = merge_lora(tuned)
    model = base.write_back(whole, {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "merged.onnx")
        onnx.save(model, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        runs = [onnxruntime.InferenceSession(str(each), options) for each in (given.file, path)]
        feed = {each.name: (target if each.name == "target" else source)[:1].numpy() for each in runs[0].get_inputs()}
        found = ratio(*(lambda run=run: [run.run(None, feed) for _ in range(20)] for run in runs), given.rounds)
        with torch.no_grad():
            ours = whole(target[:1], source[:1]).face.numpy()
        apart = float(np.abs(runs[1].run(["output"], feed)[0] - ours).max())
    print(f"merged file / file through onnxruntime: {found:.3f}; merged file and torch apart by {apart:.0e}")


if __name__ == "__main__":
    main()
