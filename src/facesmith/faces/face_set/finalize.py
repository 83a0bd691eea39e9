"""From analysed pictures to a finished face set: selection, tracks, smoothing, contact sheet, one rename."""

import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Sequence
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
    CROP_SIZE,
    CROPS,
    META,
    SCHEMA_VERSION,
    SHEET,
    TABLE,
    FaceSet,
    column_to_array,
    scatter_column,
)
from facesmith.faces.face_set.region_flaws import Flaws, find_flaws, no_flaws
from facesmith.faces.face_set.selection import NO_FACE, Candidates, rejection_kind, select_faces
from facesmith.faces.face_set.staging import LOG
from facesmith.faces.geometry.alignment import transform_points
from facesmith.faces.geometry.topology import LANDMARKS, REGIONS
from facesmith.faces.measures import mean_jitter
from facesmith.faces.tracking.smoothing import smooth_landmarks
from facesmith.faces.tracking.tracker import assign_tracks
from facesmith.files import atomic_write, make_private, write_private_text, write_text

log = logging.getLogger(__name__)

LIBRARIES = ("mediapipe", "onnxruntime", "opencv-python", "av", "numpy", "scipy", "pyarrow")


@dataclass
class ExtractionRecord:
    """Facts of an extraction besides its faces; becomes meta.json.

    Attributes:
        description: Keys that go into meta.json as they are.
        setting: The key that named the source.
        chosen: The readable media.
        skipped: Path to reason, of media of which nothing could be used.
        losses: What else could not be read.
    """

    description: dict[str, Any]
    setting: str
    chosen: list[ChosenMedia]
    skipped: dict[str, str] = field(default_factory=dict)
    losses: list[str] = field(default_factory=list)

    def add(self, lost: ReadFailure) -> None:
        """Record and log something that could not be read."""
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
    """Select, track and smooth the analysed faces, write the set into `partial` and rename it to `final`.

    Args:
        table: Rows of `analysis_schema`, in no certain order.
        record: Other facts of the extraction.
        selection: Limits a face must keep to.
        smoothing: Smoothing of landmarks along time.
        people: "one" keeps one person only, see `select_faces`.
        partial: Folder with the crops.
        final: Where the set is going to be.

    Raises:
        UserError: No face is kept; counts the reasons. `partial` is then removed.
    """
    analysed = _Analysed.sort(table, record.chosen)
    faces = _SelectedFaces.select(analysed, record.chosen, selection, smoothing, people)
    counts = Counter(rejection_kind(reason) for reason in faces.reasons if reason is not None)
    if analysed.table.num_rows > len(analysed.rows):
        counts[NO_FACE] = analysed.table.num_rows - len(analysed.rows)
    pictures = len(np.unique(np.stack([analysed.medium, analysed.frame]), axis=1).T)
    if not faces.kept.any():
        shutil.rmtree(partial)
        raise UserError(_no_usable_face(record, pictures, counts))
    description = {
        **record.description,
        "schema_version": SCHEMA_VERSION,
        "versions": {"facesmith": facesmith.__version__, **{name: version(name) for name in LIBRARIES}},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "pictures": pictures,
        "faces": len(analysed.rows),
        "kept": int(faces.kept.sum()),
        "rejected": dict(counts.most_common()),
        "jitter": faces.jitter(),
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
    flaws = _find_flaws(partial, analysed, faces, people)
    with atomic_write(partial / TABLE) as temporary:
        pq.write_table(_finished_table(analysed, faces, flaws, record.chosen), temporary, compression="zstd")
    _draw_sheet(partial, analysed, faces, flaws, record, description)
    write_text(partial / META, json.dumps(description, indent=2, ensure_ascii=False))
    make_private(partial)
    _remove_rejected(partial, analysed.faces.filter(pa.array(faces.kept)))
    partial.rename(final)
    _sync(final.parent)
    return FaceSet(final)


def update_consent(final: Path, consent: str, consent_note: str, expires: str | None) -> None:
    """Write the consent as it is stated now into a finished set; the statement is no part of its key.

    Args:
        final: Folder of the set.
        consent: Kind of consent.
        consent_note: Who agreed to what and when.
        expires: ISO date after which the consent no longer holds; None for no end.
    """
    meta = json.loads((final / META).read_text(encoding="utf-8"))
    if (meta["consent"], meta["consent_note"], meta.get("expires")) != (consent, consent_note, expires):
        meta.update(consent=consent, consent_note=consent_note, expires=expires)
        write_private_text(final / META, json.dumps(meta, indent=2, ensure_ascii=False))


@dataclass(frozen=True)
class _Analysed:
    """The analysed pictures in order of medium, frame and face.

    Attributes:
        table: P rows, one per face or one for a picture without a face.
        medium: (P,) number of the medium.
        frame: (P,) number of its frame.
        rows: (N,) rows of `table` that hold a face.
        faces: These N rows.
    """

    table: pa.Table
    medium: NDArray[np.int64]
    frame: NDArray[np.int32]
    rows: NDArray[np.intp]
    faces: pa.Table

    @classmethod
    def sort(cls, table: pa.Table, chosen: Sequence[ChosenMedia]) -> "_Analysed":
        order = {medium.content: number for number, medium in enumerate(chosen)}
        medium = np.array([order[content] for content in table.column("content").to_pylist()], np.int64)
        frame, face = column_to_array(table, "frame"), column_to_array(table, "face")
        table = table.take(np.lexsort((face, frame, medium)))
        rows = np.flatnonzero(column_to_array(table, "face") >= 0)
        return cls(table, np.sort(medium), column_to_array(table, "frame"), rows, table.take(rows))


@dataclass(frozen=True)
class _SelectedFaces:
    """Selection, tracks and landmarks of N faces.

    Attributes:
        reasons: Why each is rejected; None: it is kept.
        kept: (N,) whether it is.
        similarity: (N,) cosine with the person's mean, NaN where it was not looked at.
        times: (N,) seconds, NaN for stills.
        tracks: (N,) number of the track.
        found: (N, 478, 3) landmarks as they were found.
        smoothed: (N, 478, 3) landmarks, of the kept smoothed along time.
        was_smoothed: (N,) whether they were.
    """

    reasons: list[str | None]
    kept: NDArray[np.bool_]
    similarity: NDArray[np.float32]
    times: NDArray[np.float64]
    tracks: NDArray[np.int32]
    found: NDArray[np.float32]
    smoothed: NDArray[np.float32]
    was_smoothed: NDArray[np.bool_]

    @classmethod
    def select(
        cls,
        analysed: _Analysed,
        chosen: Sequence[ChosenMedia],
        selection: SelectionConfig,
        smoothing: SmoothingConfig,
        people: Literal["one", "many"],
    ) -> "_SelectedFaces":
        faces, medium, frame = analysed.faces, analysed.medium[analysed.rows], analysed.frame[analysed.rows]
        reasons, similarity = _select(faces, medium, frame, selection, people)
        kept = np.array([reason is None for reason in reasons], np.bool_)
        times = faces.column("time").to_numpy(zero_copy_only=False).astype(np.float64)
        found = np.empty((0, LANDMARKS, 3), np.float32)
        if faces.num_rows:
            found = column_to_array(faces, "landmarks").reshape(-1, LANDMARKS, 3)
        tracks = _track(chosen, faces, medium, frame, times, found)
        smoothed, was_smoothed = found.copy(), np.zeros(len(found), np.bool_)
        if kept.any():
            smoothed[kept], was_smoothed[kept] = smooth_landmarks(times[kept], found[kept], tracks[kept], smoothing)
        return cls(reasons, kept, similarity, times, tracks, found, smoothed, was_smoothed)

    def jitter(self) -> dict[str, Any]:
        """Measure the kept faces' jitter before and after smoothing, in eye distances."""
        times, tracks = self.times[self.kept], self.tracks[self.kept]
        return {
            "before": mean_jitter(times, self.found[self.kept], tracks),
            "after": mean_jitter(times, self.smoothed[self.kept], tracks),
            "smoothed_faces": int(self.was_smoothed.sum()),
        }


def _select(
    faces: pa.Table,
    medium: NDArray[np.int64],
    frame: NDArray[np.int32],
    selection: SelectionConfig,
    people: Literal["one", "many"],
) -> tuple[list[str | None], NDArray[np.float32]]:
    if not faces.num_rows:
        return [], np.empty(0, np.float32)
    candidates = Candidates(
        pictures=np.unique(np.stack([medium, frame]), axis=1, return_inverse=True)[1].ravel(),
        scores=column_to_array(faces, "score"),
        sizes=column_to_array(faces, "size"),
        sharpness=column_to_array(faces, "sharpness"),
        pose=column_to_array(faces, "pose"),
        embeddings=column_to_array(faces, "embedding"),
    )
    return select_faces(candidates, selection, people)


def _track(
    chosen: Sequence[ChosenMedia],
    faces: pa.Table,
    medium: NDArray[np.int64],
    frame: NDArray[np.int32],
    times: NDArray[np.float64],
    landmarks: NDArray[np.float32],
) -> NDArray[np.int32]:
    """Assign track numbers over all media; each face of a still has its own."""
    tracks = np.zeros(len(medium), np.int32)
    if not len(medium):
        return tracks
    embeddings, thumbnails = column_to_array(faces, "embedding"), column_to_array(faces, "thumbnail")
    first = 0
    for number in np.unique(medium):
        rows = np.flatnonzero(medium == number)
        if chosen[number].media.kind == "image":
            numbers = np.arange(len(rows), dtype=np.int32)
        else:
            positions = np.searchsorted(chosen[number].frames, frame[rows])
            numbers = assign_tracks(positions, times[rows], landmarks[rows], embeddings[rows], thumbnails[rows])
        tracks[rows] = first + numbers
        first += int(numbers.max()) + 1
    return tracks


def _find_flaws(partial: Path, analysed: _Analysed, faces: _SelectedFaces, people: Literal["one", "many"]) -> Flaws:
    """Find what hides regions of the kept faces; of many people nothing is known, as there is nothing to compare."""
    if people == "many":
        return no_flaws(int(faces.kept.sum()))
    kept = analysed.faces.filter(pa.array(faces.kept))
    # what an earlier version has analysed has no sizes
    sized = not kept.column("picture_size").null_count
    return find_flaws(
        [partial / CROPS / name for name in kept.column("crop").to_pylist()],
        faces.found[faces.kept],
        column_to_array(kept, "matrix").reshape(-1, 2, 3),
        CROP_SIZE,
        faces.tracks[faces.kept],
        faces.times[faces.kept],
        column_to_array(kept, "picture_size") if sized else None,
    )


def _finished_table(
    analysed: _Analysed, faces: _SelectedFaces, flaws: Flaws, chosen: Sequence[ChosenMedia]
) -> pa.Table:
    table, rows, n = analysed.table, analysed.rows, analysed.table.num_rows
    reasons: list[str | None] = [NO_FACE] * n
    for row, reason in zip(rows.tolist(), faces.reasons, strict=True):
        reasons[row] = reason
    known = ~np.isnan(faces.similarity)
    # A rejected face may be somebody who was not asked: neither embedding nor crop of it stays.
    kept = rows[faces.kept]
    crops = np.array(table.column("crop").take(kept).to_pylist())
    embeddings = column_to_array(table.take(kept), "embedding")
    smoothed = faces.smoothed.reshape(len(rows), LANDMARKS * 3)
    result = table.drop_columns(["thumbnail", "crop_bytes", "embedding", "crop"])
    for name, column in {
        "source": pa.array([str(chosen[number].media.path) for number in analysed.medium]),
        "crop": scatter_column(crops, kept, n, pa.string()),
        "embedding": scatter_column(embeddings, kept, n, table.schema.field("embedding").type),
        "landmarks_smoothed": scatter_column(smoothed, rows, n, table.schema.field("landmarks").type),
        "smoothed": scatter_column(faces.was_smoothed, rows, n, pa.bool_()),
        "track": scatter_column(faces.tracks, rows, n, pa.int32()),
        "similarity": scatter_column(faces.similarity[known], rows[known], n, pa.float32()),
        "flaws": scatter_column(flaws, kept, n, pa.list_(pa.string(), len(REGIONS))),
        "kept": pa.array([reason is None for reason in reasons]),
        "reason": pa.array(reasons, pa.string()),
    }.items():
        result = result.append_column(name, column)
    return result


def _draw_sheet(
    partial: Path,
    analysed: _Analysed,
    faces: _SelectedFaces,
    flaws: Flaws,
    record: ExtractionRecord,
    description: dict[str, Any],
) -> None:
    thumbnails = []
    medium = analysed.medium[analysed.rows]
    rows = analysed.faces.select(["crop", "frame", "matrix"]).to_pylist()
    all_flaws = no_flaws(len(rows))
    all_flaws[faces.kept] = flaws
    for row, number, reason, flaw, points in zip(rows, medium, faces.reasons, all_flaws, faces.found, strict=True):
        media = record.chosen[number].media
        origin = media.path.name if media.kind == "image" else f"{media.path.stem} {row['frame']}"
        landmarks = transform_points(points, np.reshape(row["matrix"], (2, 3))) / CROP_SIZE
        thumbnails.append(Thumbnail(partial / CROPS / row["crop"], origin, reason, tuple(flaw), landmarks))
    rejected = ", ".join(f"{reason} {count}" for reason, count in description["rejected"].items()) or "nothing"
    title = (
        f"{description['name']}: {description['kept']} of {description['faces']} faces kept, "
        f"from {description['pictures']} pictures; rejected: {rejected}"
    )
    write_contact_sheet(partial / SHEET, thumbnails, title)


def _remove_rejected(partial: Path, kept: pa.Table) -> None:
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
