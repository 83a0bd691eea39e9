"""Two processes on this machine train what one does, go on after a kill in mid-training, and write everything once."""

import csv
import multiprocessing
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel
from lightning.pytorch.strategies import DDPStrategy
from safetensors.torch import load_file

from facesmith.cli.main import main

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # as the command sets it; read when torch is loaded
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["facesmith.cli.train", *(f"facesmith.methods.{kind}.module" for kind in ("swapper", "occluder", "swap_lora"))]
)
EPOCHS, BATCHES = 2, 5
SHORT = [
    *("trainer.accelerator=cpu", f"trainer.max_epochs={EPOCHS}", f"trainer.check_val_every_n_epoch={EPOCHS}"),
    *(f"++trainer.limit_train_batches={BATCHES}", "data.batch_size=4"),
]
TYPES = {
    "identity": [
        *("data.max_frames=16", "data.pseudo_truth.frames=10", "data.pseudo_truth.variants=6", "data.progress=false"),
        *("model.generator.size=128", "model.generator.picture_size=128"),
    ],
    "occluder": ["data.max_frames=12", "data.size=64", "data.repeats=2", "data.workers=0", "model.export_size=128"],
    "swap_lora": ["data.max_frames=12"],
    "video_lora": [
        *("data.clips=6", "data.holdout=[dance_005]", "data.prior.clips=4", "data.prior.steps=2", "data.photos=3"),
        *("model.validation.videos=0", "callbacks.videos=null", "monitor=val/loss", "monitor_mode=min"),
    ],
}
OFTEN = ["callbacks.last.every_steps=2", "callbacks.last.every_seconds=null"]
NO_ONNX = "callbacks.export=null"  # a minute; one type is enough, and others write a profile or an adapter


@dataclass
class Training:
    """A process that trains, and where it prints."""

    process: BaseProcess
    place: Path

    @property
    def out(self) -> str:
        return self.place.with_suffix(".out").read_text()

    @property
    def err(self) -> str:
        return self.place.with_suffix(".err").read_text()


def start(folder: Path, kind: str, name: str, *overrides: str, trainer: str | None = None) -> list[Training]:
    """Start the processes of a training, as torchrun does, from one process that has imported everything."""
    arguments = [f"experiment={kind}_demo", *TYPES[kind], *SHORT, f"name={name}", *overrides]
    processes = 1 if trainer is None else 2
    if trainer is not None:
        arguments += [f"trainer={trainer}", f"trainer.devices={processes}"]
    if not any(argument.startswith("resume=") for argument in arguments):
        arguments.append(f"hydra.run.dir=runs/{kind}_demo/{name}/one")
    return launch(folder, name, train, arguments, processes=processes)


def launch(folder: Path, name: str, work: Callable[..., None], *given: object, processes: int = 2) -> list[Training]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = []
    for rank in range(processes):
        several = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        several |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
        place = folder / f"{name}_{rank}_{len(list(folder.iterdir()))}"
        environment = dict(os.environ) | ({key: str(value) for key, value in several.items()} if processes > 1 else {})
        process = CONTEXT.Process(target=run_here, args=(environment, folder, place, work, given))
        process.start()
        started.append(Training(process, place))
    return started


def run_here(
    environment: dict[str, str], folder: Path, place: Path, work: Callable[..., None], given: tuple[object, ...]
) -> None:
    """Work in a process of its own."""
    os.environ.update(environment)
    os.chdir(folder)
    for number, ending in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(place.with_suffix(ending), os.O_WRONLY | os.O_CREAT), number)
    work(*given)


def train(arguments: list[str]) -> None:
    """Be `facesmith train`."""
    sys.argv = ["facesmith", "train", *arguments]
    sys.exit(main(sys.argv[1:]))


def finish(trainings: list[Training]) -> tuple[str, str]:
    """Return what the first process printed to standard output and error; the others print nothing."""
    for training in trainings:
        training.process.join(900)
    first, *others = trainings
    exits = [training.process.exitcode for training in trainings]
    assert exits == [0] * len(trainings), "".join(training.err for training in trainings)
    assert [training.out + training.err for training in others] == [""] * len(others)
    return first.out, first.err


def kill_after_checkpoint(trainings: list[Training], checkpoint: Path) -> None:
    end = time.monotonic() + 900
    while not checkpoint.exists():
        assert all(training.process.is_alive() for training in trainings), trainings[0].err
        assert time.monotonic() < end
        time.sleep(0.02)
    for training in trainings:
        training.process.kill()
    for training in trainings:
        training.process.join()


def rows(folder: Path, kind: str, name: str) -> dict[tuple[int, str], float]:
    """Return loss and validated figures by step and name."""
    log = folder / f"runs/{kind}_demo/{name}/one/metrics.csv"
    found: dict[tuple[int, str], float] = {}
    for row in csv.DictReader(log.open()):
        for key, value in row.items():
            if value and (key == "train/loss" or key.startswith("val/")):
                assert (int(row["step"]), key) not in found, "logged twice"
                found[int(row["step"]), key] = float(value)
    return found


def steps(found: dict[tuple[int, str], float]) -> list[int]:
    return [step for step, key in found if key == "train/loss"]


def print_differences(kind: str, one: dict[tuple[int, str], float], two: dict[tuple[int, str], float]) -> None:
    """Print the row of the page's table; `pytest -rP` shows it."""
    apart = {key: abs(two[key] - value) / max(abs(value), 0.05) for key, value in one.items()}
    losses = [value for (_, name), value in apart.items() if name == "train/loss"]
    validated = max(value for (_, name), value in apart.items() if name != "train/loss")
    print(f"| {kind}, {len(losses)} steps | {losses[0]:.1e} | {max(losses):.1e} | {validated:.1e} |")


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(TYPES))
def test_ddp_equals_one_process_and_killed_equals_uninterrupted(kind: str, tmp_path: Path) -> None:
    """First loss within 1e-5, all within the page's tolerance; killed and resumed is bit for bit the uninterrupted."""
    if kind == "swap_lora":
        finish(start(tmp_path, "identity", "smiling_man", "trainer.max_epochs=0", NO_ONNX))
    finish(start(tmp_path, kind, "one", NO_ONNX))
    finish(start(tmp_path, kind, "two", NO_ONNX, *OFTEN, trainer="ddp"))
    one, two = rows(tmp_path, kind, "one"), rows(tmp_path, kind, "two")
    assert steps(one) == list(range(EPOCHS * BATCHES))
    assert two.keys() == one.keys()
    print_differences(kind, one, two)
    assert two[0, "train/loss"] == pytest.approx(one[0, "train/loss"], rel=1e-5)
    for key, value in one.items():
        assert two[key] == pytest.approx(value, rel=2e-2, abs=1e-3), key

    onnx = [] if kind == "occluder" else [NO_ONNX]
    killed = start(tmp_path, kind, "killed", *onnx, *OFTEN, trainer="ddp")
    kill_after_checkpoint(killed, tmp_path / f"runs/{kind}_demo/killed/one/checkpoints/last.ckpt")
    assert len(steps(rows(tmp_path, kind, "killed"))) < EPOCHS * BATCHES
    out, err = finish(start(tmp_path, kind, "killed", *onnx, *OFTEN, "resume=auto", trainer="ddp"))
    resumed_at = re.search(r"Resuming from .*last.ckpt: epoch \d+, step (\d+)", err)
    assert resumed_at is not None
    assert 2 <= int(resumed_at[1]) < EPOCHS * BATCHES
    assert rows(tmp_path, kind, "killed") == two
    check_written_once(tmp_path, kind, out)


@pytest.mark.slow
def test_fsdp_equals_one_process_in_losses_checkpoint_and_lora(tmp_path: Path) -> None:
    """A sharded training's files are those of an unsharded one, and either goes on from a sharded one's checkpoint."""
    runs = tmp_path / "runs/video_lora_demo"
    finish(start(tmp_path, "video_lora", "one"))
    finish(start(tmp_path, "video_lora", "two", *OFTEN, trainer="fsdp"))
    one, two = rows(tmp_path, "video_lora", "one"), rows(tmp_path, "video_lora", "two")
    print_differences("video_lora with fsdp", one, two)
    assert two[0, "train/loss"] == pytest.approx(one[0, "train/loss"], rel=1e-5)
    assert two == pytest.approx(one, rel=2e-2)
    compare_checkpoints(*(torch.load(runs / name / "one/checkpoints/last.ckpt") for name in ("one", "two")))
    loras = [load_file(runs / name / "one/exports/lora.safetensors") for name in ("one", "two")]
    torch.testing.assert_close(loras[1], loras[0], rtol=2e-2, atol=1e-4)
    mappers = [load_file(runs / name / "one/exports/mapper.safetensors") for name in ("one", "two")]
    torch.testing.assert_close(mappers[1], mappers[0], rtol=2e-2, atol=1e-4)

    killed = start(tmp_path, "video_lora", "killed", *OFTEN, trainer="fsdp")
    kill_after_checkpoint(killed, runs / "killed/one/checkpoints/last.ckpt")
    shutil.copytree(runs / "killed", runs / "alone")
    finish(start(tmp_path, "video_lora", "killed", *OFTEN, "resume=auto", trainer="fsdp"))
    assert rows(tmp_path, "video_lora", "killed") == two
    finish(start(tmp_path, "video_lora", "alone", *OFTEN, "resume=auto"))
    assert rows(tmp_path, "video_lora", "alone") == pytest.approx(one, rel=2e-2)


def compare_checkpoints(one: dict[str, Any], two: dict[str, Any]) -> None:
    torch.testing.assert_close(two["state_dict"], one["state_dict"], rtol=2e-2, atol=1e-4)
    (first,), (second,) = one["optimizer_states"], two["optimizer_states"]
    assert [group["params"] for group in second["param_groups"]] == [group["params"] for group in first["param_groups"]]
    assert second["state"].keys() == first["state"].keys()
    for number, state in first["state"].items():
        for name, value in state.items():
            assert second["state"][number][name].shape == value.shape


def check_written_once(folder: Path, kind: str, out: str) -> None:
    run = folder / f"runs/{kind}_demo/killed/one"
    assert {log.name for log in run.glob("*.log")} == {"train.log", "train_ddp_process_1.log"}
    assert {path.name for path in (run / "checkpoints").iterdir()} <= {"last.ckpt", "previous.ckpt", "best.ckpt"}
    assert (run / "report.html").is_file()
    first, second = ((run / name).read_text() for name in ("train.log", "train_ddp_process_1.log"))
    writer = "facesmith.training.callbacks.export:"  # of profile, adapter or ONNX
    assert writer in first
    assert writer not in second
    assert out.count("  Made ") == 1
    if kind == "occluder":
        assert len(list(run.glob("exports/*.onnx"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "overrides", "line"),
    [
        ("ddp", ["seed=0,1"], "trainer.devices=2: a job of a sweep has one device; choose 1, and jobs side by side"),
        ("ddp", ["data.batch_size=3"], "data.batch_size=3: is shared by 2 processes; give a multiple of it, such as"),
        ("fsdp", [], "trainer=fsdp: OccluderModule fits on one device"),
    ],
)
def test_devices_that_cannot_help_are_refused_in_one_line(
    trainer: str, overrides: list[str], line: str, tmp_path: Path
) -> None:
    flags = ["-m"] if "seed=0,1" in overrides else []
    given = ["experiment=occluder_demo", *TYPES["occluder"], *SHORT, f"trainer={trainer}", "trainer.devices=2"]
    processes = 2 if "data.batch_size=3" in overrides else 1  # the others are refused before Lightning starts a second
    given.append(f"hydra.run.dir={tmp_path}/run")
    first, *others = launch(tmp_path, "odd", train, [*flags, *given, *overrides], processes=processes)
    for training in (first, *others):
        training.process.join(300)
        assert training.process.exitcode == 1
        assert "Traceback" not in training.err
    assert first.err.count(f"error: {line}") == 1


LIMIT, LONGER = 30.0, 45.0  # seconds


@pytest.mark.slow
@pytest.mark.parametrize(("hook", "survives"), [("prepare_data", True), ("setup", False)])
def test_ddp_prepare_data_outlasts_the_limit_of_the_processes(hook: str, survives: bool, tmp_path: Path) -> None:
    """The others wait for what the first prepares; waiting elsewhere shows that the limit holds."""
    started = launch(tmp_path, "slow", wait_in, hook)
    for training in started:
        training.process.join(300)
    assert (started[1].process.exitcode == 0) == survives, started[1].err
    assert survives or "Timed out" in started[1].err


def wait_in(hook: str) -> None:
    """Train a step with two processes whose limit is short, the first of which takes longer in a hook."""

    class Data(BoringDataModule):
        pass

    def wait(self: Data, **given: Any) -> None:
        if not int(os.environ["LOCAL_RANK"]):
            time.sleep(LONGER)
        getattr(BoringDataModule, hook)(self, **given)

    setattr(Data, hook, wait)
    strategy = DDPStrategy(timeout=timedelta(seconds=LIMIT))
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    Trainer(accelerator="cpu", devices=2, strategy=strategy, max_steps=1, limit_val_batches=0, **quiet).fit(
        BoringModel(), Data()
    )
