"""Unfinished face sets: the analysed pictures in a temporary folder, and the removal of abandoned sets."""

import logging
import shutil
import time
from pathlib import Path
from typing import Any, Final

import filelock
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from facesmith.faces.face_set.face_set import rows_to_table
from facesmith.files import FILE, atomic_write, partial_folder

log = logging.getLogger(__name__)

LOG: Final = "journal"
"""Folder of an unfinished set that holds what is analysed so far."""

STALE_SECONDS: Final = 2 * 24 * 3600.0
"""An unfinished set whose media or settings have changed is kept this long: they may change back."""


def remove_stale(folder: Path, keep: Path) -> None:
    """Remove unfinished sets that no process is working on and that are unchanged for STALE_SECONDS.

    Args:
        folder: Where they lie.
        keep: The set that is being made; its folder stays.
    """
    for partial in folder.glob("*.partial"):
        if partial == partial_folder(keep):
            continue
        touched = max((p.stat().st_mtime for p in partial.rglob("*")), default=partial.stat().st_mtime)
        if time.time() - touched < STALE_SECONDS:
            continue
        lock = filelock.FileLock(partial.with_name(f"{partial.name.removesuffix('.partial')}.lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            continue
        try:
            shutil.rmtree(partial)
            log.info("removed the abandoned unfinished face set %s", partial)
        finally:
            lock.release()


class ExtractionLog:
    """Analysed pictures as Parquet fragments in a folder, appended every few seconds.

    A picture is logged whole, all its faces or its having none, after its crops are written. What a kill can cost is
    the analysis since the last append.

    Attributes:
        done: (content, frame) of the pictures that an earlier attempt has logged.
    """

    def __init__(self, folder: Path, crops: Path, schema: pa.Schema, seconds: float = 2.0) -> None:
        """Read what an earlier attempt left; pictures whose crops are not whole are analysed again.

        Args:
            folder: Where the fragments lie.
            crops: Where the crops lie.
            schema: Of the rows.
            seconds: How long rows wait before they are appended.
        """
        self._folder = folder
        self._schema = schema
        self._seconds = seconds
        self._waiting: list[dict[str, Any]] = []
        self._last = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        tables = [schema.empty_table()]
        for fragment in sorted(folder.glob("[0-9]*.parquet")):
            try:
                tables.append(pq.read_table(fragment, schema=schema))
            except (pa.ArrowInvalid, OSError) as error:
                log.warning("%s is damaged (%s); its pictures are analysed again", fragment, error)
                fragment.unlink()
        self._next = 1 + max((int(p.stem) for p in folder.glob("[0-9]*.parquet")), default=0)
        self._tables = [_with_whole_crops(pa.concat_tables(tables), crops)]
        whole = self._tables[0].select(["content", "frame"]).to_pylist()
        self.done: frozenset[tuple[str, int]] = frozenset((row["content"], row["frame"]) for row in whole)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Add the rows of one picture; write them to disk every few seconds."""
        self._waiting.extend(rows)
        if time.monotonic() - self._last >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Write all waiting rows to disk."""
        self._last = time.monotonic()
        if not self._waiting:
            return
        table = rows_to_table(self._waiting, self._schema)
        with atomic_write(self._folder / f"{self._next:06d}.parquet") as temporary:
            temporary.chmod(FILE)
            pq.write_table(table, temporary, compression="zstd")
        self._tables.append(table)
        self._next += 1
        self._waiting.clear()

    def table(self) -> pa.Table:
        """Return all rows of this and earlier attempts, in no certain order."""
        self.flush()
        return pa.concat_tables(self._tables)


def _with_whole_crops(table: pa.Table, crops: Path) -> pa.Table:
    sizes = {path.name: path.stat().st_size for path in crops.glob("*.jpg")}
    broken = {
        (row["content"], row["frame"])
        for row in table.select(["content", "frame", "crop", "crop_bytes"]).to_pylist()
        if row["crop"] is not None and sizes.get(row["crop"]) != row["crop_bytes"]
    }
    if not broken:
        return table
    pictures = table.select(["content", "frame"]).to_pylist()
    keep = [(row["content"], row["frame"]) not in broken for row in pictures]
    return table.filter(pc.equal(pa.array(keep, pa.bool_()), True))
