"""What the machine refuses is reported in one line with the keys to change; real refusals, where they can be had."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from facesmith.errors import DiskFullError, UserError, explain_errors, free_bytes
from facesmith.files import atomic_write, write_bytes

TRAINING = SimpleNamespace(
    data=SimpleNamespace(batch_size=16, max_frames=500),
    trainer=SimpleNamespace(precision="32-true", accumulate_grad_batches=1),
    model=SimpleNamespace(gradient_checkpointing=False),
)


def line(error: Exception, config: Any = TRAINING, folder: Path | None = None) -> str:
    with pytest.raises(UserError) as caught, explain_errors(config, folder):
        raise error
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    "allocate",
    [lambda: torch.empty(1 << 50), lambda: np.ones(1 << 50)],
    ids=["torch", "numpy"],
)
def test_no_memory_names_what_costs_it(allocate: Any) -> None:
    with pytest.raises(UserError) as caught, explain_errors(TRAINING):
        allocate()
    message = str(caught.value)
    assert message.startswith("out of memory, ")
    for words in ("data.batch_size=16", "trainer.accumulate_grad_batches=1", "model.gradient_checkpointing=false"):
        assert words in message
    assert "trainer.precision=32-true" in message
    assert "trainer=low_memory" in message
    assert "more were requested" in message


def test_no_memory_on_a_gpu() -> None:
    words = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB"
    message = line(torch.OutOfMemoryError(words))
    assert message.startswith(
        "out of memory on the GPU, 2.00 GiB more were requested; settings that cost memory: data.batch_size=16"
    )
    assert line(RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)")).startswith("out of memory on the GPU")


def test_inference_names_its_own_keys() -> None:
    message = line(MemoryError(), SimpleNamespace(task=SimpleNamespace(workers=4)))
    assert "task.workers=4 (1: one frame at a time)" in message
    assert "data.batch_size" not in message
    assert "low_memory" not in message


def test_a_full_disk_keeps_what_was_there(small_disk: Path) -> None:
    write_bytes(small_disk / "old", b"x" * 1_000_000)
    with pytest.raises(DiskFullError) as caught:
        write_bytes(small_disk / "old", b"y" * 3_000_000)
    assert str(caught.value).startswith(f"{small_disk / 'old'}: the disk is full: ")
    assert "1.1 MB free" in str(caught.value)
    assert (small_disk / "old").read_bytes() == b"x" * 1_000_000
    assert [path.name for path in small_disk.iterdir()] == ["old"]


def test_a_checkpoint_that_does_not_fit_leaves_the_last_good_one(small_disk: Path) -> None:
    folder = small_disk / "checkpoints"
    good, large = {"weights": torch.ones(1000)}, {"weights": torch.ones(1_000_000)}
    for path, content in ((folder / "last.ckpt", good), (folder / "last.ckpt", large)):
        try:
            with (
                explain_errors(TRAINING, small_disk),
                atomic_write(path, needs=4 * content["weights"].numel()) as temporary,
            ):
                torch.save(content, temporary)
        except UserError as error:
            message = str(error)
    assert f"{folder / 'last.ckpt'}: the disk is full: 4.0 MB needed, 2.1 MB free" in message
    assert message.endswith(f"; last good checkpoint: {folder / 'last.ckpt'}")
    assert torch.equal(torch.load(folder / "last.ckpt")["weights"], good["weights"])
    assert len(list(folder.iterdir())) == 1


def test_room_is_given_back_although_the_writer_holds_the_file(small_disk: Path) -> None:
    held: list[int] = []

    def fill() -> None:
        with atomic_write(small_disk / "last.ckpt") as temporary, temporary.open("wb") as file:
            held.append(os.dup(file.fileno()))
            file.write(b"x" * 3_000_000)

    with pytest.raises(DiskFullError):
        fill()
    free = free_bytes(small_disk)
    os.close(held[0])
    assert free > 1_900_000


def test_a_full_disk_outside_of_our_own_writer(small_disk: Path) -> None:
    message = ""
    try:
        with explain_errors(TRAINING, small_disk):
            (small_disk / "crop.jpg").write_bytes(b"x" * 3_000_000)
    except UserError as error:
        message = str(error)
    assert "the disk is full" in message
    assert "MB free" in message


def test_a_quota_is_a_full_disk(tmp_path: Path) -> None:
    message = line(OSError(errno.EDQUOT, "Disk quota exceeded", str(tmp_path / "a.png")))
    assert message.startswith(f"{tmp_path / 'a.png'}: the disk is full")


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ("MisconfigurationException: No supported gpu backend found!", "trainer.accelerator=auto"),
        ("DataLoader worker (pid 7) is killed by signal: Bus error. insufficient shared memory", "data.workers=0"),
        ("The server socket has failed to listen: EADDRINUSE", "MASTER_PORT"),
        ("CUDA error: no kernel image is available for execution on the device", "trainer.accelerator=cpu"),
        ("InvalidCxxCompiler: No working C++ compiler found", "model.compile=false"),
        ("[Errno 24] Too many open files", "ulimit -n"),
    ],
)
def test_common_refusals_name_the_key(words: str, key: str) -> None:
    assert key in line(RuntimeError(words))


def test_lightning_itself_refuses_a_gpu_that_is_not_there() -> None:
    from lightning import Trainer

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=r"trainer\.accelerator=auto"), explain_errors(TRAINING):
        Trainer(accelerator="gpu", logger=False)


def test_bugs_and_user_mistakes_pass_through() -> None:
    with pytest.raises(KeyError), explain_errors(TRAINING):
        raise KeyError("bug")
    with pytest.raises(UserError, match="as it is"), explain_errors(TRAINING):
        raise UserError("as it is")
