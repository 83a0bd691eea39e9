"""One progress bar: what it shows, and that it is silent when asked."""

import contextlib
import io
import os
import re
import subprocess
import sys

import pytest
from rich.console import Console

from facesmith.progress import progress_bar, track, track_parts, waiting


def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def printed(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def shown_in_terminal(script: str) -> bytes:
    """Run a script in a terminal, and return what it showed."""
    outer, inner = os.openpty()
    with subprocess.Popen([sys.executable, "-c", script], stdout=inner, stdin=inner, stderr=inner) as process:
        os.close(inner)
        shown = b""
        with contextlib.suppress(OSError):
            while data := os.read(outer, 4096):
                shown += data
    os.close(outer)
    assert process.returncode == 0
    return shown


def test_track_with_items_yields_them_and_shows_the_count() -> None:
    screen = console()
    assert list(track([1, 2, 3], "frames", console=screen)) == [1, 2, 3]
    assert "frames" in printed(screen)
    assert "3/3" in printed(screen)


@pytest.mark.parametrize(("items", "shown"), [([], True), ([1, 2], False)])
def test_track_without_items_or_hidden_shows_nothing(items: list[int], shown: bool) -> None:
    screen = console()
    assert list(track(iter(items), "frames", len(items), shown=shown, console=screen)) == items
    assert "frames" not in printed(screen)


def test_track_parts_covers_all_and_is_one_line_without_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="facesmith")
    assert [list(range(7))[part] for part in track_parts(7, 3, "measuring 7 swaps")] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [record.message for record in caplog.records] == ["measuring 7 swaps ..."]


def test_waiting_tells_how_long_it_took_the_last_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="facesmith")
    with waiting("writing ada.onnx", expected=75.0):
        pass
    assert [record.message for record in caplog.records] == ["writing ada.onnx (last time 1 min 15 s) ..."]


def test_progress_bar_of_bytes_shows_sizes() -> None:
    screen = console()
    with progress_bar(console=screen, unit="bytes") as bar:
        task = bar.add_task("weights", total=2_000_000)
        bar.advance(task, 2_000_000)
    assert "2.0/2.0 MB" in printed(screen)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo terminal")
def test_waiting_goes_on_while_the_interpreters_lock_is_held() -> None:
    """A clock that stands still for half a minute looks like a program that hangs."""
    script = (
        "import ctypes, time\n"
        "from facesmith.progress import waiting\n"
        "with waiting('holding the lock'):\n"
        "    time.sleep(1)\n"  # the clock draws itself
        "    ctypes.PyDLL(None).sleep(7)\n"  # sleeps with the lock
    )
    shown = shown_in_terminal(script)
    seconds = set(re.findall(rb"holding the lock 0:00:(\d\d)", shown))
    assert len(seconds) >= 2, shown


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo terminal")
def test_waiting_ends_though_a_process_that_it_saw_fork_lives_on() -> None:
    """The workers of a loader hold every pipe that was open when they were forked."""
    script = (
        "import os, signal, time\n"
        "from facesmith.progress import waiting\n"
        "began = time.monotonic()\n"
        "with waiting('loading'):\n"
        "    worker = os.fork()\n"
        "    if not worker:\n"
        "        time.sleep(30)\n"
        "        os._exit(0)\n"
        "print('went on', time.monotonic() - began < 25)\n"
        "os.kill(worker, signal.SIGKILL)\n"
    )
    assert b"went on True" in shown_in_terminal(script)
