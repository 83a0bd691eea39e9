"""The process beside the server: mistakes come back as a line, its death harms nobody, and it ends when it is idle."""

import os
import time
from pathlib import Path

import psutil
import pytest

from facesmith.errors import DiskFullError, UserError
from facesmith.studio.worker import Worker


def fail() -> None:
    raise DiskFullError(Path("film.mp4"), 10, 5)


def test_worker_mistake_death_and_idleness() -> None:
    worker = Worker(idle=0.5)
    number = worker.call(os.getpid)
    assert number != os.getpid()
    with pytest.raises(UserError, match=r"film\.mp4: the disk is full"):
        worker.call(fail)
    with pytest.raises(UserError, match="the process that reads media ended"):
        worker.call(os._exit, 9)
    second = worker.call(os.getpid)
    assert second not in (number, os.getpid())
    end = time.monotonic() + 20
    while psutil.pid_exists(second):
        assert time.monotonic() < end
        time.sleep(0.05)
