"""A signal is noted while training and stops at once before it; a second Ctrl-C stops at once."""

import os
import signal
from pathlib import Path

import pytest

from facesmith.errors import Interrupted
from facesmith.training.run.stopping import stopping


def test_before_training_a_signal_stops_at_once_and_says_what_to_do(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as caught, stopping(tmp_path):
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 143
    assert caught.value.lines == ["Stopped by SIGTERM before the first checkpoint; give the same command again"]
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_while_training_it_is_noted(tmp_path: Path, number: int, capfd: pytest.CaptureFixture[str]) -> None:
    with stopping(tmp_path) as wish:
        wish.training = True
        os.kill(os.getpid(), number)
        assert wish.wanted == number
        os.kill(os.getpid(), signal.SIGTERM)
        assert wish.wanted == number
        with pytest.raises(Interrupted) as caught:
            wish.check()
    assert caught.value.code == 128 + number
    assert "saving after this step" in capfd.readouterr().err


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    with stopping(tmp_path) as wish:
        wish.training = True
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_a_forked_worker_lives_through_ctrl_c_alone(tmp_path: Path, number: int, ends: bool) -> None:
    with stopping(tmp_path) as wish:
        wish.training = True
        worker = os.fork()
        if worker == 0:
            os.kill(os.getpid(), number)
            os._exit(7)
        _, status = os.waitpid(worker, 0)
        assert os.waitstatus_to_exitcode(status) == (-number if ends else 7)
        assert wish.wanted is None


def test_a_launcher_keeps_its_own_signal(tmp_path: Path) -> None:
    heard = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
    try:
        with stopping(tmp_path) as wish:
            wish.training = True
            os.kill(os.getpid(), signal.SIGUSR2)
            assert wish.wanted is None
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [signal.SIGUSR2]
