"""Every W&B run ends, and says how."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from facesmith.training.run.record import Recorder, RunRecord


@contextmanager
def ended_in_wandb(recording: AbstractContextManager[Recorder]) -> Iterator[Recorder]:
    """Record a run, and end its W&B run, if there is one, as the record says.

    Without it the jobs of one sweep, which share a process, would merge into one run.
    """
    recorder: Recorder | None = None
    try:
        with recording as recorder:
            yield recorder
    finally:
        if recorder is not None:
            _end(recorder.record)


def _end(record: RunRecord) -> None:
    run = sys.modules["wandb"].run if "wandb" in sys.modules else None
    if run is None:
        return
    figures: dict[str, Any] = {
        "status": record.status,
        "seconds": record.seconds,
        "peak_memory_mb": record.peak_memory_mb,
    }
    figures |= {"error": f"{record.error.kind}: {record.error.message}"} if record.error else {}
    run.summary.update(figures)
    run.finish(exit_code=0 if record.status in ("completed", "pruned") else 1)
