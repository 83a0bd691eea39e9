"""Metrics as a CSV file that a resumed run goes on with."""

import csv
import io
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from facesmith.files import write_text


class _Table(ExperimentWriter):
    """`metrics.csv`: rows are appended; a column that comes later, and a cut, rewrite the file atomically."""

    def __init__(self, folder: str) -> None:
        super().__init__(log_dir=folder)
        self._path = Path(folder) / self.NAME_METRICS_FILE
        self._rows = 0
        self._new = True

    def _check_log_dir_exists(self) -> None:
        """Keep what an earlier part of the run wrote: whether it counts is known when a checkpoint was loaded."""

    @override
    def save(self) -> None:
        rows, self.metrics = self.metrics, []
        if not rows:
            return
        more = sorted({key for row in rows for key in row} - set(self.metrics_keys))
        self.metrics_keys += more
        if self._new or more:
            self._rewrite([*([] if self._new else self._read()), *rows])
        else:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.metrics_keys).writerows(rows)
        self._rows += len(rows)
        self._new = False

    def count(self) -> int:
        """Write what is pending, and count the rows."""
        self.save()
        return self._rows

    def cut(self, rows: int) -> None:
        """Keep the first rows alone, and go on after them."""
        kept = self._read()[:rows] if self._path.is_file() else []
        self.metrics, self._rows, self._new = [], len(kept), not kept
        if kept:
            self._rewrite(kept)

    def _read(self) -> list[dict[str, Any]]:
        with self._path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows: list[dict[str, Any]] = list(reader)
            self.metrics_keys += [key for key in reader.fieldnames or () if key not in self.metrics_keys]
        return rows

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.metrics_keys)
        writer.writeheader()
        writer.writerows(rows)
        write_text(self._path, text.getvalue())


class CsvLog(CSVLogger):
    """Write `metrics.csv` and `hparams.yaml` into a run's folder.

    Lightning's own logger deletes the file of an earlier part of the run and writes at every step. This one writes
    every `flush_seconds` and at every checkpoint, remembers in the checkpoint how many rows there were, and cuts the
    file there on resume: steps that are done again stand in it once.
    """

    def __init__(self, folder: Path, flush_seconds: float) -> None:
        super().__init__(save_dir=folder, name="", version="")
        self._flush_seconds, self._flushed = flush_seconds, -math.inf  # the clock may have begun just now

    @property
    @override
    def experiment(self) -> Any:
        """The table, or what swallows every call in the other processes of a run."""
        if rank_zero_only.rank:  # type: ignore[attr-defined]
            return super().experiment
        if self._experiment is None:
            self._experiment = _Table(self.log_dir)
        return self._experiment

    @override
    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.experiment.log_metrics(dict(metrics), step)

    @override
    @rank_zero_only
    def save(self) -> None:
        """Write what is pending, when it has waited long enough; Lightning calls this at every step."""
        now = time.monotonic()
        if now - self._flushed >= self._flush_seconds:
            self._flushed = now
            self.experiment.save()

    @override
    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is pending."""
        if self._experiment is not None:
            self.experiment.save()

    def state_dict(self) -> dict[str, Any]:
        """Say how many rows stand."""
        return {"rows": self.experiment.count()} if not rank_zero_only.rank else {}  # type: ignore[attr-defined]

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on after the rows that stood."""
        if not rank_zero_only.rank and "rows" in state_dict:  # type: ignore[attr-defined]
            self.experiment.cut(state_dict["rows"])
