"""What the page starts for each job: it waits for its turn, runs the command, and keeps how it ended.

It belongs to no server: it goes on when the page is closed and when the server is killed, and so does the command,
which writes its log by itself.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, Final

from facesmith.files import write_private_text
from facesmith.studio.jobs import JOB, LOG, STATE, is_running, process_start, read_state

_POLL: Final = 1.0  # seconds
_CANCELLED: Final = 143


def main(arguments: list[str]) -> int:
    """Run the job of a folder; return the command's exit code.

    Args:
        arguments: The folder.
    """
    folder = Path(arguments[0])
    job: dict[str, Any] = json.loads((folder / JOB).read_text(encoding="utf-8"))
    state: dict[str, Any] = {"runner": os.getpid(), "runner_began": process_start(os.getpid()), "status": "waiting"}

    def keep(**changes: Any) -> None:
        state.update(changes)
        write_private_text(folder / STATE, json.dumps(state))

    def cancel(_number: int, _frame: FrameType | None) -> None:
        keep(status="cancelled", code=_CANCELLED, finished=time.time())
        sys.exit(_CANCELLED)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, cancel)
    keep()
    while any(is_running(other) for other in _earlier(folder, job["lane"])):
        time.sleep(_POLL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / LOG).touch(0o600)
    with (folder / LOG).open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "facesmith", *job["words"]],
            cwd=job["folder"],
            env={**os.environ, **job["environment"]},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            restore_signals=True,
            preexec_fn=_listen_again,
        )
    keep(status="running", pid=process.pid, began=process_start(process.pid), started=time.time())
    code = process.wait()
    keep(status="ended", code=code, finished=time.time())
    return code


def _listen_again() -> None:
    """Let the command hear the signals that this process ignores."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _earlier(folder: Path, lane: str) -> list[Path]:
    """Return the jobs of the same lane that came before."""
    before = [other for other in folder.parent.iterdir() if other.name < folder.name]
    return [other for other in before if read_state(other).get("lane") == lane]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
