"""A signal is noted while training and stops at once before it; a second Ctrl-C stops at once."""

import os
import signal
from pathlib import Path

import pytest

from facesmith.errors import Interrupted
from facesmith.training.run.preemption import handle_preemption


def test_preemption_before_training_stops_at_once(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as caught, handle_preemption(tmp_path):
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 143
    assert caught.value.lines == ["Stopped by SIGTERM before the first checkpoint; give the same command again"]
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_preemption_while_training_is_kept(tmp_path: Path, number: int, capfd: pytest.CaptureFixture[str]) -> None:
    with handle_preemption(tmp_path) as preemption:
        preemption.training = True
        os.kill(os.getpid(), number)
        assert preemption.received == number
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.received == number
        with pytest.raises(Interrupted) as caught:
            preemption.raise_if_requested()
    assert caught.value.code == 128 + number
    assert "saving after this step" in capfd.readouterr().err


def test_preemption_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    with handle_preemption(tmp_path) as preemption:
        preemption.training = True
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_preemption_forked_worker_survives_ctrl_c(tmp_path: Path, number: int, ends: bool) -> None:
    with handle_preemption(tmp_path) as preemption:
        preemption.training = True
        worker = os.fork()
        if worker == 0:
            os.kill(os.getpid(), number)
            os._exit(7)
        _, status = os.waitpid(worker, 0)
        assert os.waitstatus_to_exitcode(status) == (-number if ends else 7)
        assert preemption.received is None


def test_preemption_launcher_keeps_its_signal(tmp_path: Path) -> None:
    heard = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
    try:
        with handle_preemption(tmp_path) as preemption:
            preemption.training = True
            os.kill(os.getpid(), signal.SIGUSR2)
            assert preemption.received is None
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [signal.SIGUSR2]
