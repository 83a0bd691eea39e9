"""What a step of a LoRA costs, against a step that trains the whole base on the same batches.

    python benchmarks/swap_lora_step.py base=<identity run> target=<video> face_sets=<folder> [--rounds 5] [--steps 60]
        [overrides, such as model.rank=8]

Claims: at most 1.05 times the time, and less memory. The two are timed in turns and the median of the rounds' ratios is
printed, so that what else runs on the machine falls on both alike. Memory is what a step holds when its backward pass
begins, and, with the libraries' own, what a process takes beyond data and base while it trains. Also prints the
adapter's share of its base, and how long the merged ONNX file takes beside the base's, in turns too (claims: 1.02
times, 1e-5 of torch).
"""

import argparse
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from facesmith.cli.composition import load_config
from facesmith.config.schema import TrainConfig
from facesmith.methods.swap_lora.base import find_base
from facesmith.models.adapters.lora import is_lora, lora_state
from facesmith.models.checkpoint import load_module
from facesmith.models.onnx.export import export
from facesmith.training.swapping.dataset import as_floats
from step_overhead import FixedTrainer

_WARM_UP = 10


def settings(folder: Path, base: str, target: str, face_sets: str, overrides: list[str]) -> TrainConfig:
    given = [f"model.base={base}", f"data.target={target}", f"paths.face_sets={face_sets}", "data.consent=licensed"]
    return load_config("train", TrainConfig, ["experiment=swap_lora", *given, *overrides], run=folder)


class Training:
    """One of the two, a stretch of steps at a time."""

    def __init__(self, config: TrainConfig, data: Any, kind: str, progress: float) -> None:
        torch.manual_seed(0)
        self.data, self.progress = data, progress
        self.module: Any = config.model.build() if kind == "lora" else load_module(find_base(config.model.base))
        self.module.trainer = FixedTrainer(data, config)
        if kind == "lora":
            self.module.setup("fit")
        self.module.train()

    def begin(self) -> None:
        """Make the optimiser and the average."""
        chosen = self.module.configure_optimizers()
        self.optimizer, self.schedule = chosen["optimizer"], chosen["lr_scheduler"]["scheduler"]
        self.weights = [p for p in self.module.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.weights]

    def run(self, steps: int) -> float:
        """Return the seconds a step takes."""
        batches = self._batches()
        started = time.perf_counter()
        for _ in range(steps):
            loss = self._loss(next(batches))
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.weights, 5.0)
            self.optimizer.step()
            self.schedule.step()
            with torch.no_grad():
                torch._foreach_lerp_(self.average, [p.detach() for p in self.weights], 0.01)
        return (time.perf_counter() - started) / steps

    def held(self) -> float:
        """Return all kept from the end of a step's forward pass on: for backward, gradients, moments, average; MB."""
        own = {value.untyped_storage().data_ptr() for value in (*self.module.parameters(), *self.module.buffers())}
        kept: dict[int, int] = {}

        def keep(value: torch.Tensor) -> torch.Tensor:
            storage = value.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return value

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            loss = self._loss(next(self._batches()))
        weights = sum(value.nbytes for value in self.weights)
        del loss
        return (sum(kept.values()) + 4 * weights) / 1e6

    def _loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        batch = {name: value for name, value in batch.items() if name != "foreign"}
        batch = self.data.augment(as_floats(batch))
        output = self.module.generator(batch["target"], batch["source"])
        loss: torch.Tensor = self.module.loss(output, batch, self.progress)["loss"]
        return loss

    def _batches(self) -> Any:
        loader = self.data.train_dataloader()
        while True:
            yield from loader


def memory(kind: str) -> float:
    """Return what a process of its own takes for training, in MB."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", kind]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ})
    return float(found.stdout.split()[-1])


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def onnx_times(lora: Any, base: Path, folder: Path) -> None:
    sessions, specs = [], []
    for name, module in (("base", load_module(base)), ("merged", lora)):
        module.provenance = module.provenance or lora.datamodule.provenance()
        spec = module.eval().export_spec()
        report = export(spec, folder / f"{name}.onnx")
        specs.append((spec, report))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        sessions.append(onnxruntime.InferenceSession(report.path, options, providers=["CPUExecutionProvider"]))
    random = np.random.default_rng(0)
    feed = {
        name: random.uniform(-1, 1, tuple(value.shape)).astype(np.float32) for name, value in specs[0][0].inputs.items()
    }
    ratios = []
    for _ in range(15):
        times = []
        for session in sessions:
            started = time.perf_counter()
            for _ in range(10):
                session.run(None, feed)
            times.append(time.perf_counter() - started)
        ratios.append(times[1] / times[0])
    print(
        f"merged ONNX: {statistics.median(ratios):.3f} times the base's time, within {specs[1][1].parity:.0e} of torch"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--progress", type=float, default=0.5, help="of the training: late losses come in")
    parser.add_argument("--only", choices=["full", "lora"])
    arguments, given = parser.parse_known_args()
    named = dict(each.split("=", 1) for each in given if each.split("=")[0] in ("base", "target", "face_sets"))
    overrides = [each for each in given if each.split("=")[0] not in named]
    torch.set_num_threads(1)
    logging.getLogger("facesmith").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        config = settings(Path(folder), **named, overrides=[*overrides, "data.progress=false"])
        data = config.data.build()
        data.prepare_data()
        data.setup("fit")
        if arguments.only:
            training = Training(config, data, arguments.only, arguments.progress)
            before = resident()
            training.begin()
            training.run(30)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6 - before)
            return
        lora, full = (Training(config, data, kind, arguments.progress) for kind in ("lora", "full"))
        for training in (lora, full):
            training.begin()
            training.run(_WARM_UP)
        ratios = []
        for _ in range(arguments.rounds):
            one, other = lora.run(arguments.steps), full.run(arguments.steps)
            ratios.append(one / other)
            print(f"LoRA {1e3 * one:6.1f} ms   whole base {1e3 * other:6.1f} ms   ratio {one / other:.3f}")
        print(f"median ratio {statistics.median(ratios):.3f} (claim: <= 1.05)")
        print(f"held for a step: LoRA {lora.held():.1f} MB, whole base {full.held():.1f} MB")
        tensors = lora.module.generator.state_dict()
        whole = sum(value.numel() for name, value in tensors.items() if not is_lora(name))
        own = sum(value.numel() for value in lora_state(lora.module.generator).values())
        print(f"adapter: {own} numbers, {own / whole:.3f} of the base's")
        onnx_times(lora.module, find_base(config.model.base), Path(folder))
    needs = {kind: memory(kind) for kind in ("lora", "full")}
    print(f"a process's own memory: LoRA {needs['lora']:.0f} MB, whole base {needs['full']:.0f} MB")


if __name__ == "__main__":
    main()
