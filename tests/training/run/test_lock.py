"""One run of a name at a time; jobs of a sweep share it; a killed run blocks nobody."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from facesmith.errors import UserError
from facesmith.training.run.lock import lock_run

FORK = multiprocessing.get_context("fork")


def _hold(run: Path, name: Path | None, ready: Any, with_child: bool) -> None:
    with lock_run(run, name=name, busy="refuse"):
        if with_child and os.fork() == 0:
            time.sleep(2)  # a loader's worker that outlives a killed run for a while
            os._exit(0)
        ready.set()
        time.sleep(60)


@contextmanager
def holder(run: Path, name: Path | None, with_child: bool = False) -> Iterator[Any]:
    ready = FORK.Event()
    process = FORK.Process(target=_hold, args=(run, name, ready, with_child))
    process.start()
    assert ready.wait(20)
    try:
        yield process
    finally:
        process.kill()
        process.join()


def test_lock_run_second_of_name_is_refused(tmp_path: Path) -> None:
    with holder(tmp_path / "ada/1", tmp_path / "ada") as first, pytest.raises(UserError) as caught:  # noqa: SIM117
        with lock_run(tmp_path / "ada/2", name=tmp_path / "ada", busy="refuse"):
            pass
    assert str(caught.value).startswith(
        f"name=ada: a run of this name is running already ({tmp_path / 'ada/1'}, process"
    )
    assert str(first.pid) in str(caught.value)
    assert "busy=wait" in str(caught.value)


def test_lock_run_other_names_run_side_by_side(tmp_path: Path) -> None:
    with holder(tmp_path / "ada/s/0", None), lock_run(tmp_path / "ada/s/1", name=None, busy="refuse"):
        pass
    with (
        holder(tmp_path / "ada/1", tmp_path / "ada"),
        lock_run(tmp_path / "bob/1", name=tmp_path / "bob", busy="refuse"),
    ):
        pass


def test_lock_run_folder_in_use_is_refused(tmp_path: Path) -> None:
    with holder(tmp_path / "ada/s/0", None), pytest.raises(UserError):  # noqa: SIM117
        with lock_run(tmp_path / "ada/s/0", name=None, busy="refuse"):
            pass


def test_lock_run_busy_wait_waits(tmp_path: Path) -> None:
    with holder(tmp_path / "ada/1", tmp_path / "ada") as first:
        began = time.monotonic()
        threading.Timer(0.5, first.kill).start()
        with lock_run(tmp_path / "ada/2", name=tmp_path / "ada", busy="wait"):
            assert time.monotonic() - began >= 0.5


def test_lock_run_killed_with_living_worker_is_released(tmp_path: Path) -> None:
    with holder(tmp_path / "ada/1", tmp_path / "ada", with_child=True) as first:
        os.kill(first.pid, signal.SIGKILL)
        first.join()
        with lock_run(tmp_path / "ada/1", name=tmp_path / "ada", busy="refuse"):
            pass


def test_lock_run_released_leaves_no_holder(tmp_path: Path) -> None:
    with lock_run(tmp_path / "ada/1", name=tmp_path / "ada", busy="refuse"):
        assert (tmp_path / "ada/1/.hydra/lock.json").is_file()
        assert (tmp_path / "ada/.lock.json").is_file() or (tmp_path / "ada/.lock").with_suffix(".json").is_file()
    assert not list(tmp_path.rglob("*.json"))
