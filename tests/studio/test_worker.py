"""The process beside the server: mistakes come back as a line, its death harms nobody, and it ends when it is idle."""

import os
import time
from pathlib import Path

import psutil
import pytest

from facesmith.errors import DiskFullError, UserError
from facesmith.studio.worker import TooSlowError, Worker


def fail() -> None:
    raise DiskFullError(Path("film.mp4"), 10, 5)


def test_worker_mistake_death_and_idleness() -> None:
    worker = Worker(idle=0.5)
    number = worker.call(60, os.getpid)
    assert number != os.getpid()
    with pytest.raises(UserError, match=r"film\.mp4: the disk is full"):
        worker.call(60, fail)
    with pytest.raises(UserError, match="the process that reads media ended"):
        worker.call(60, os._exit, 9)
    second = worker.call(60, os.getpid)
    assert second not in (number, os.getpid())
    end = time.monotonic() + 20
    while psutil.pid_exists(second):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_worker_call_that_hangs_is_killed_and_the_next_one_answered() -> None:
    worker = Worker(idle=60)
    number = worker.call(60, os.getpid)
    with pytest.raises(TooSlowError, match="took more than 1 seconds and was stopped"):
        worker.call(1, time.sleep, 3600)
    assert worker.call(60, os.getpid) != number
    end = time.monotonic() + 20
    while psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.05)
    worker.close()
