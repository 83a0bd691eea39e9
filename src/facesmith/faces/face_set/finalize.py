"""From analysed pictures to a finished face set: tracks, selection, smoothing, contact sheet, one rename."""

import json
import logging
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

import facesmith
from facesmith.errors import UserError
from facesmith.faces.face_set.analysis import ChosenMedia, ReadFailure
from facesmith.faces.face_set.config import SelectionConfig, SmoothingConfig
from facesmith.faces.face_set.contact_sheet import Thumbnail, write_contact_sheet
from facesmith.faces.face_set.face_set import (
    CROPS,
    META,
    SCHEMA_VERSION,
    SHEET,
    TABLE,
    FaceSet,
    column_to_array,
    scatter_column,
)
from facesmith.faces.face_set.selection import NO_FACE, Candidates, rejection_kind, select_faces
from facesmith.faces.face_set.staging import LOG
from facesmith.faces.measures import mean_jitter
from facesmith.faces.tracking.smoothing import smooth_landmarks
from facesmith.faces.tracking.tracker import assign_tracks
from facesmith.files import atomic_write, make_private, write_private_text, write_text

log = logging.getLogger(__name__)

LIBRARIES = ("mediapipe", "onnxruntime", "opencv-python", "av", "numpy", "scipy", "pyarrow")


@dataclass
class ExtractionRecord:
    """What is known of an extraction besides its faces; becomes meta.json.

    description: keys that go into meta.json as they are. setting: the key that named the source. chosen: the
    readable media. skipped: path to reason, of media of which nothing could be used. losses: what else
    could not be read.
    """

    description: dict[str, Any]
    setting: str
    chosen: list[ChosenMedia]
    skipped: dict[str, str] = field(default_factory=dict)
    losses: list[str] = field(default_factory=list)

    def add(self, lost: ReadFailure) -> None:
        """Note something that could not be read."""
        message = lost.message.removeprefix(f"{lost.media.path}: ")
        log.warning("%s: %s", lost.media.path, message)
        if lost.unreadable:
            self.skipped[str(lost.media.path)] = message
        else:
            self.losses.append(f"{lost.media.path}: {message}")


def finalize(
    table: pa.Table,
    record: ExtractionRecord,
    selection: SelectionConfig,
    smoothing: SmoothingConfig,
    people: Literal["one", "many"],
    partial: Path,
    final: Path,
) -> FaceSet:
    """Judge, track and smooth the analysed faces, write the set into `partial` and rename it to `final`.

    Raises UserError, counting the reasons, when no face is kept; `partial` is then removed.
    """
    order = {chosen.content: number for number, chosen in enumerate(record.chosen)}
    medium = np.array([order[content] for content in table.column("content").to_pylist()], np.int64)
    frame, face = column_to_array(table, "frame"), column_to_array(table, "face")
    table = table.take(np.lexsort((face, frame, medium)))
    medium, frame = np.sort(medium), column_to_array(table, "frame")
    rows = np.flatnonzero(column_to_array(table, "face") >= 0)
    found = table.take(rows)

    reasons, similarity = _judge(found, medium[rows], frame[rows], selection, people)
    kept = np.array([reason is None for reason in reasons], np.bool_)
    pictures = len(np.unique(np.stack([medium, frame]), axis=1).T)
    counts = Counter(rejection_kind(reason) for reason in reasons if reason is not None)
    if table.num_rows > len(rows):
        counts[NO_FACE] = table.num_rows - len(rows)
    if not kept.any():
        shutil.rmtree(partial)
        raise UserError(_no_usable_face(record, pictures, counts))

    times = found.column("time").to_numpy(zero_copy_only=False).astype(np.float64)
    raw = column_to_array(found, "landmarks").reshape(-1, 478, 3)
    tracks = _tracks(record.chosen, found, medium[rows], frame[rows], times, raw)
    smoothed, steadied = raw.copy(), np.zeros(len(raw), np.bool_)
    smoothed[kept], steadied[kept] = smooth_landmarks(times[kept], raw[kept], tracks[kept], smoothing)

    description = {
        **record.description,
        "schema_version": SCHEMA_VERSION,
        "versions": {"facesmith": facesmith.__version__, **{name: version(name) for name in LIBRARIES}},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "pictures": pictures,
        "faces": len(rows),
        "kept": int(kept.sum()),
        "rejected": dict(counts.most_common()),
        "jitter": {
            "before": mean_jitter(times[kept], raw[kept], tracks[kept]),
            "after": mean_jitter(times[kept], smoothed[kept], tracks[kept]),
            "smoothed_faces": int(steadied.sum()),
        },
        "sources": [
            {
                "path": str(chosen.media.path),
                "kind": chosen.media.kind,
                "sha256": chosen.content,
                "chosen_frames": len(chosen.frames),
            }
            for chosen in record.chosen
            if str(chosen.media.path) not in record.skipped
        ],
        "skipped": record.skipped,
        "losses": record.losses,
    }
    finished = _finished_table(
        table, rows, record.chosen, medium, smoothed, steadied, tracks, similarity, kept, reasons
    )
    with atomic_write(partial / TABLE) as temporary:
        pq.write_table(finished, temporary, compression="zstd")
    _draw_sheet(partial, found, medium[rows], reasons, record, description)
    write_text(partial / META, json.dumps(description, indent=2, ensure_ascii=False))
    make_private(partial)
    _leave_only_kept(partial, found.filter(pa.array(kept)))
    partial.rename(final)
    _sync(final.parent)
    return FaceSet(final)


def update_consent(final: Path, consent: str, consent_note: str, expires: str | None) -> None:
    """Let a finished set carry the consent as it is stated now; the statement is no part of its key."""
    meta = json.loads((final / META).read_text(encoding="utf-8"))
    if (meta["consent"], meta["consent_note"], meta.get("expires")) != (consent, consent_note, expires):
        meta.update(consent=consent, consent_note=consent_note, expires=expires)
        write_private_text(final / META, json.dumps(meta, indent=2, ensure_ascii=False))


def _judge(
    found: pa.Table,
    medium: NDArray[np.int64],
    frame: NDArray[np.int32],
    selection: SelectionConfig,
    people: Literal["one", "many"],
) -> tuple[list[str | None], NDArray[np.float32]]:
    if not found.num_rows:
        return [], np.empty(0, np.float32)
    candidates = Candidates(
        pictures=np.unique(np.stack([medium, frame]), axis=1, return_inverse=True)[1].ravel(),
        scores=column_to_array(found, "score"),
        sizes=column_to_array(found, "size"),
        sharpness=column_to_array(found, "sharpness"),
        pose=column_to_array(found, "pose"),
        embeddings=column_to_array(found, "embedding"),
    )
    return select_faces(candidates, selection, people)


def _tracks(
    chosen: list[ChosenMedia],
    found: pa.Table,
    medium: NDArray[np.int64],
    frame: NDArray[np.int32],
    times: NDArray[np.float64],
    landmarks: NDArray[np.float32],
) -> NDArray[np.int32]:
    tracks = np.zeros(len(medium), np.int32)
    embeddings, thumbnails = column_to_array(found, "embedding"), column_to_array(found, "thumbnail")
    following = 0
    for number in np.unique(medium):
        rows = np.flatnonzero(medium == number)
        if chosen[number].media.kind == "image":
            own = np.arange(len(rows), dtype=np.int32)
        else:
            positions = np.searchsorted(chosen[number].frames, frame[rows])
            own = assign_tracks(positions, times[rows], landmarks[rows], embeddings[rows], thumbnails[rows])
        tracks[rows] = following + own
        following += int(own.max()) + 1
    return tracks


def _finished_table(
    table: pa.Table,
    rows: NDArray[np.intp],
    chosen: list[ChosenMedia],
    medium: NDArray[np.int64],
    smoothed: NDArray[np.float32],
    steadied: NDArray[np.bool_],
    tracks: NDArray[np.int32],
    similarity: NDArray[np.float32],
    kept: NDArray[np.bool_],
    reasons: list[str | None],
) -> pa.Table:
    n = table.num_rows
    flat = smoothed.reshape(len(rows), 478 * 3)
    everyone: list[str | None] = [NO_FACE] * n
    for row, reason in zip(rows.tolist(), reasons, strict=True):
        everyone[row] = reason
    known = rows[~np.isnan(similarity)]
    # A rejected face may be somebody who was not asked: neither embedding nor crop of it stays.
    asked = rows[kept]
    result = table.drop_columns(["thumbnail", "crop_bytes", "embedding", "crop"])
    embedding = table.schema.field("embedding").type
    for name, column in {
        "source": pa.array([str(chosen[number].media.path) for number in medium]),
        "crop": scatter_column(np.array(table.column("crop").take(asked).to_pylist()), asked, n, pa.string()),
        "embedding": scatter_column(column_to_array(table.take(asked), "embedding"), asked, n, embedding),
        "landmarks_smoothed": scatter_column(flat, rows, n, table.schema.field("landmarks").type),
        "smoothed": scatter_column(steadied, rows, n, pa.bool_()),
        "track": scatter_column(tracks, rows, n, pa.int32()),
        "similarity": scatter_column(similarity[~np.isnan(similarity)], known, n, pa.float32()),
        "kept": pa.array([reason is None for reason in everyone]),
        "reason": pa.array(everyone, pa.string()),
    }.items():
        result = result.append_column(name, column)
    return result


def _draw_sheet(
    partial: Path,
    found: pa.Table,
    medium: NDArray[np.int64],
    reasons: list[str | None],
    record: ExtractionRecord,
    description: dict[str, Any],
) -> None:
    faces = []
    for row, number, reason in zip(found.select(["crop", "frame"]).to_pylist(), medium, reasons, strict=True):
        media = record.chosen[number].media
        origin = media.path.name if media.kind == "image" else f"{media.path.stem} {row['frame']}"
        faces.append(Thumbnail(partial / CROPS / row["crop"], origin, reason))
    rejected = ", ".join(f"{reason} {count}" for reason, count in description["rejected"].items()) or "nothing"
    title = (
        f"{description['name']}: {description['kept']} of {description['faces']} faces kept, "
        f"from {description['pictures']} pictures; rejected: {rejected}"
    )
    write_contact_sheet(partial / SHEET, faces, title)


def _leave_only_kept(partial: Path, kept: pa.Table) -> None:
    names = set(kept.column("crop").to_pylist())
    for crop in (partial / CROPS).iterdir():
        if crop.name not in names:
            crop.unlink()
    shutil.rmtree(partial / LOG)
    for path in (*(partial / CROPS).iterdir(), partial / CROPS, partial):
        _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _no_usable_face(record: ExtractionRecord, pictures: int, counts: Counter[str]) -> str:
    dropped = ", ".join(f"{reason} {count}" for reason, count in counts.most_common())
    unread = f"; {len(record.skipped)} files could not be read" if record.skipped else ""
    mend = (
        "give media that show the face from the front"
        if set(counts) == {NO_FACE}
        else "give larger or better pictures of the face, or loosen data.selection"
    )
    return f"{record.setting}: no usable face in {pictures} pictures read ({dropped}{unread}); {mend}"
