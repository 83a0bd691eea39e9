"""Processes that share a batch compute what one process would."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from lightning import Trainer
from lightning.pytorch.strategies import FSDPStrategy
from timm.layers import DropPath
from torch import Tensor, nn

from facesmith.errors import UserError
from facesmith.methods.occluder.losses import WholeBatchDice
from facesmith.training.distributed import (
    SyncedBatchNorm2d,
    SyncedDropPath,
    WholeBatchLayers,
    all_reduce_mean,
    gather_rows,
    measure_once,
    own_rows,
)
from facesmith.training.hardware import check_devices, describe_unequal
from facesmith.training.losses import masked_mean
from facesmith.training.sharding import FullyShardedStrategy


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(), nn.Conv2d(4, 2, 3))


def data() -> tuple[Tensor, Tensor]:
    """Four pictures, and weights of very different sums."""
    torch.manual_seed(1)
    return torch.randn(4, 3, 8, 8), torch.rand(4, 1, 4, 4) * torch.tensor([0.01, 1, 0.2, 3]).view(4, 1, 1, 1)


def train_and_gather(number: int, folder: str) -> None:
    """What each of two processes does; both parts in one, as a process imports torch first."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=number, world_size=2)
    torch.save({"trained": one_trains(number), "gathered": one_gathers(number)}, Path(folder, f"{number}.pt"))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what came of it in the first and in the second process."""
    folder = tmp_path_factory.mktemp("two")
    os.environ["OMP_NUM_THREADS"] = "1"
    mp.spawn(train_and_gather, (str(folder),), nprocs=2)
    first, second = (torch.load(folder / f"{n}.pt") for n in range(2))
    return first, second


def one_trains(number: int) -> dict[str, Any]:
    model = WholeBatchLayers().apply(net())
    assert any(isinstance(layer, SyncedBatchNorm2d) for layer in model)
    wrapped = nn.parallel.DistributedDataParallel(model)
    pictures, weights = data()
    loss = masked_mean(wrapped(pictures[number::2]).square(), weights[number::2])
    loss.backward()
    kept = {name: p.grad for name, p in model.named_parameters()}
    return {"loss": loss.detach(), "gradients": kept, "state": model.state_dict()}


def test_batch_norm_sync_two_processes_equal_one(two: tuple[dict[str, Any], dict[str, Any]]) -> None:
    model, (pictures, weights) = net(), data()
    loss = masked_mean(model(pictures).square(), weights)
    loss.backward()
    first, second = (each["trained"] for each in two)
    assert first["loss"] != second["loss"]
    torch.testing.assert_close((first["loss"] + second["loss"]) / 2, loss.detach())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(first["gradients"][name], parameter.grad, rtol=1e-4, atol=1e-6)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(first["state"][name], value)


def faces() -> tuple[Tensor, Tensor]:
    """Logits and soft labels of four faces, of very different areas."""
    torch.manual_seed(2)
    return torch.randn(4, 1, 8, 8), torch.rand(4, 1, 8, 8) * torch.tensor([0.01, 1, 0.2, 0.6]).view(4, 1, 1, 1)


def one_gathers(number: int) -> dict[str, Any]:
    weight = torch.ones(3, requires_grad=True)
    own = own_rows(torch.arange(12.0).view(4, 3)) * weight
    whole = gather_rows({"rows": own, "known": torch.tensor([number, number + 2]) > 1})
    (whole["rows"] ** 2).sum().backward()
    logits, labels = faces()
    loss = WholeBatchDice("binary", from_logits=True)(own_rows(logits), own_rows(labels))
    torch.manual_seed(5)
    dropped = SyncedDropPath(0.5).train()(own_rows(torch.ones(8, 1)))
    kept = {"rows": whole["rows"].detach(), "known": whole["known"], "gradient": weight.grad}
    kept["measured"] = measure_once(lambda: {"mean": float(masked_mean(logits, labels)), "measured in": number})
    assert torch.equal(all_reduce_mean(torch.tensor(float(number))), torch.tensor(0.5))  # and now together again
    return {**kept, "dice": loss, "dropped": gather_rows(dropped)}


def test_two_processes_gather_rows_gradients_and_figures_of_the_whole_batch(
    two: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    first, second = (each["gathered"] for each in two)
    weight = torch.ones(3, requires_grad=True)
    ((torch.arange(12.0).view(4, 3) * weight) ** 2).sum().backward()
    assert torch.equal(first["rows"], torch.arange(12.0).view(4, 3))
    assert first["known"].tolist() == [False, False, True, True]
    assert torch.equal((first["gradient"] + second["gradient"]) / 2, weight.grad)
    logits, labels = faces()
    expected = smp.losses.DiceLoss("binary", from_logits=True)(logits, labels)
    torch.testing.assert_close(first["dice"], expected)
    torch.manual_seed(5)
    assert torch.equal(first["dropped"], DropPath(0.5).train()(torch.ones(8, 1)))
    torch.testing.assert_close(second["dice"], expected)
    assert first["measured"] == second["measured"] == {"mean": float(masked_mean(logits, labels)), "measured in": 0}


def test_batch_norm_sync_one_process_is_unchanged() -> None:
    model, (pictures, _) = net(), data()
    expected = model(pictures)
    statistics = WholeBatchLayers()
    ours = statistics.apply(net())
    assert torch.equal(ours(pictures), expected)
    reverted = statistics.revert(ours)
    assert type(reverted[1]) is nn.BatchNorm2d
    assert torch.equal(reverted[1].running_mean, model[1].running_mean)


@pytest.mark.parametrize(
    ("datamodule", "sweep", "changes", "words"),
    [
        ({"shares_batches": True}, True, {}, "a job of a multirun uses one device, this one asks for 2"),
        ({}, False, {}, "gives every process the same batches, so 2 devices"),
        ({"shares_batches": True}, False, {"strategy": FullyShardedStrategy()}, "fits on one device"),
    ],
)
def test_check_devices_useless_ones_are_refused(
    datamodule: dict[str, Any], sweep: bool, changes: dict[str, Any], words: str
) -> None:
    trainer = cpu_trainer(**({"devices": 2, "strategy": "ddp"} | changes))
    with pytest.raises(UserError, match=words):
        check_devices(trainer, SimpleNamespace(), SimpleNamespace(**datamodule), sweep)
    check_devices(cpu_trainer(devices=1), SimpleNamespace(), SimpleNamespace(), sweep)


def test_check_devices_first_fsdp_is_refused() -> None:
    with pytest.raises(UserError, match="use trainer=fsdp"):
        check_devices(SimpleNamespace(strategy=FSDPStrategy()), SimpleNamespace(), SimpleNamespace(), False)


@pytest.mark.parametrize(("started", "devices"), [("2", 1), ("2", 3), ("4", 2)])
def test_check_devices_another_number_than_torchrun_started_is_refused(
    started: str, devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = cpu_trainer(devices=devices, strategy="ddp" if devices > 1 else "auto")
    monkeypatch.setenv("WORLD_SIZE", started)
    with pytest.raises(UserError, match=f"{devices} on each of 1 machines, but {started} processes were started"):
        check_devices(trainer, SimpleNamespace(), SimpleNamespace(shares_batches=True), False)


def test_describe_unequal_devices_names_the_kinds() -> None:
    assert describe_unequal([("T4", 16 * 2**30)] * 2) is None
    assert "(T4, 16 GiB; L4, 24 GiB)" in str(describe_unequal([("T4", 16 * 2**30), ("L4", 24 * 2**30)]))


def cpu_trainer(**arguments: Any) -> Trainer:
    return Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **arguments)
