"""How much memory a job needed, also where several jobs share one process."""

import os
import resource
import sys
from pathlib import Path
from typing import Any

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Watches the process's and the GPU's memory from its making on.

    Where the system cannot forget an earlier peak (macOS), the process's own is given.
    """

    def __init__(self) -> None:
        if os.access(_RESET, os.W_OK):
            _RESET.write_text("5")  # Linux: the peak begins anew
        if (cuda := _cuda()) is not None:
            cuda.reset_peak_memory_stats()

    def megabytes(self) -> tuple[float, float | None]:
        """Give the peaks so far, of the process's memory and of the GPU's, if there is one."""
        cuda = _cuda()
        return _process_peak(), None if cuda is None else round(cuda.max_memory_allocated() / 2**20, 1)


def _process_peak() -> float:
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _cuda() -> Any:
    """Give torch's CUDA module when this process uses it already."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
