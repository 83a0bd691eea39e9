"""The environment of a run: package versions, git commit, peak memory. Needs no torch."""

import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import facesmith

_PACKAGES: Final = (
    "torch",
    "lightning",
    "numpy",
    "hydra-core",
    "mediapipe",
    "onnx",
    "onnxruntime",
    "opencv-python",
    "av",
    "pydantic",
)
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@functools.cache
def package_versions() -> dict[str, str]:
    """Return the versions of the packages a result depends on most; missing ones are omitted."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def git_commit() -> str | None:
    """Return the commit of the project's checkout, `+` marking uncommitted changes; None outside of one."""
    lines = _git("describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*")
    return lines[0] if lines else None


def git_changes() -> list[str]:
    """Return a line for each tracked file that differs from the commit, as `git status --porcelain` prints it."""
    return list(_git("status", "--porcelain", "--untracked-files=no") or ())


def _git(*arguments: str) -> Sequence[str] | None:
    command = ["git", "-C", str(Path(facesmith.__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.splitlines()


class PeakMemory:
    """Measure the peak of the process's and the GPU's memory, from when this object is made.

    Several jobs may share one process. Where the system cannot forget an earlier peak (macOS), the process's is given.
    """

    def __init__(self) -> None:
        if os.access(_RESET, os.W_OK):
            _RESET.write_text("5")  # Linux: the peak begins anew
        if (cuda := _cuda()) is not None:
            cuda.reset_peak_memory_stats()

    def megabytes(self) -> tuple[float, float | None]:
        """Return the peaks so far in MiB, of the process's memory and of the GPU's; None where no GPU is used."""
        cuda = _cuda()
        return process_peak(), None if cuda is None else round(cuda.max_memory_allocated() / 2**20, 1)


def process_peak() -> float:
    """Return the peak of this process's memory so far in MiB."""
    if sys.platform == "win32":
        import psutil

        return round(psutil.Process().memory_info().peak_wset / 2**20, 1)
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _cuda() -> Any:
    """Return torch's CUDA module when this process uses it already."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
