"""Metrics as a CSV file that a resumed run continues."""

import csv
import io
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from facesmith.files import write_text
from facesmith.training.lightning_internals import AppendingExperimentWriter


class CsvLog(CSVLogger):
    """Write `metrics.csv` and `hparams.yaml` into a run's folder.

    Lightning's own logger deletes the file of an earlier part of the run and writes at every step. This one writes
    every `flush_seconds` and at every checkpoint, saves in the checkpoint how many rows there were, and truncates the
    file there on resume: repeated steps are in it once.

    Args:
        folder: Of the run.
        flush_seconds: Seconds between two writes.
    """

    def __init__(self, folder: Path, flush_seconds: float) -> None:
        super().__init__(save_dir=folder, name="", version="")
        self._table: _CsvTable | None = None
        self._flush_seconds, self._flushed = flush_seconds, -math.inf  # the clock may have begun just now

    @property
    @override
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The table; in the other processes of a run an object that ignores every call."""
        if self._table is None:
            self._table = _CsvTable(self.log_dir)
        return self._table

    @override
    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.experiment.log_metrics(dict(metrics), step)

    @override
    @rank_zero_only
    def save(self) -> None:
        """Write pending rows when it is time; Lightning calls this at every step."""
        now = time.monotonic()
        if now - self._flushed >= self._flush_seconds:
            self._flushed = now
            self.experiment.save()

    @override
    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write pending rows."""
        if self._table is not None:
            self._table.save()

    def state_dict(self) -> dict[str, Any]:
        """Return how many rows there are."""
        table = self.experiment
        return {"rows": table.count()} if isinstance(table, _CsvTable) else {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue after those rows."""
        table = self.experiment
        if isinstance(table, _CsvTable) and "rows" in state_dict:
            table.truncate(state_dict["rows"])


class _CsvTable(AppendingExperimentWriter):
    """`metrics.csv`: rows are appended; a new column, and a truncation, rewrite the file atomically."""

    def __init__(self, folder: str) -> None:
        super().__init__(log_dir=folder)
        self._path = Path(folder) / self.NAME_METRICS_FILE
        self._rows = 0
        self._new = True

    @override
    def save(self) -> None:
        rows, self.metrics = self.metrics, []
        if not rows:
            return
        new_columns = sorted({key for row in rows for key in row} - set(self.metrics_keys))
        self.metrics_keys += new_columns
        if self._new or new_columns:
            self._rewrite([*([] if self._new else self._read()), *rows])
        else:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.metrics_keys).writerows(rows)
        self._rows += len(rows)
        self._new = False

    def count(self) -> int:
        """Write pending rows and return how many there are in all."""
        self.save()
        return self._rows

    def truncate(self, rows: int) -> None:
        """Keep the first rows only, and continue after them."""
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
