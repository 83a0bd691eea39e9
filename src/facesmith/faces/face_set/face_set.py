"""A face set on disk, opened: its table, crops and what was done to make it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from facesmith.errors import UserError
from facesmith.faces.face import keypoints_from_landmarks
from facesmith.faces.face_set.curation import digest_left_out, read_left_out
from facesmith.faces.face_set.region_flaws import KINDS, Flaws, find_flaws, is_visible, no_flaws
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.alignment import estimate_alignment, invert_transform, transform_points, warp_face
from facesmith.faces.geometry.topology import BLENDSHAPES, LANDMARKS, REGIONS
from facesmith.faces.tracking.tracker import THUMBNAIL

SCHEMA_VERSION: Final = 1
"""Counts up when the meaning of a column or of an extraction step changes: older sets are then made anew."""

TEMPLATE: Final = "ffhq_512"
CROP_SIZE: Final = 512


META: Final = "meta.json"
TABLE: Final = "faces.parquet"
CROPS: Final = "crops"
SHEET: Final = "contact_sheet.png"

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SelectedFace:
    """A face that selection kept.

    Attributes:
        number: From 1.
        crop: File name of its crop.
        origin: Its file, and of a video the minute and second.
        sharpness: Variance of the Laplacian.
        pose: Minus the larger angle by which the head is turned, in degrees: the more, the lower.
        size: Shorter side of the face, px of the source.
        likeness: Cosine to the mean of all.
        landmarks: (478,3) as fractions of the crop's side.
    """

    number: int
    crop: str
    origin: str
    sharpness: float
    pose: float
    size: float
    likeness: float
    landmarks: NDArray[np.floating]


def _describe_origin(source: str, time: float | None) -> str:
    name = Path(source).name
    return name if time is None else f"{name} {int(time) // 60}:{int(time) % 60:02d}"


class FaceSet:
    """A finished face set: a table of kept and rejected faces, the crops of the kept, what was done and lost.

    Arrays are over the kept faces, ordered by medium, frame and face: N faces, E the embedder's size. Everything is
    read when first asked for and then stays in memory, but for the crops.

    Attributes:
        path: Its folder.
        meta: Contents of meta.json.
        key: Hash of contents, analyzer and settings.
        embedder: Name of the recogniser of its embeddings.
        left_out: Crops, by file name, of faces that somebody left out by hand: they count as if they were not there.
    """

    template = TEMPLATE
    crop_size = CROP_SIZE

    def __init__(self, path: Path) -> None:
        """Open the folder of a finished set; UserError when there is none."""
        self.path = path
        try:
            self.meta: dict[str, Any] = json.loads((path / META).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path}: is not a face set; extract one with data.source=...") from None
        self.key: str = self.meta["key"]
        self.embedder: str = self.meta["embedder"]
        anywhere = read_left_out(path)
        self.left_out = anywhere & frozenset(self.selected_crops) if anywhere else anywhere

    def __len__(self) -> int:
        return int(self.meta["kept"]) - len(self.left_out)

    @property
    def state_key(self) -> str:
        """The key, and what was left out by hand: what is made from the set and cached depends on both."""
        return f"{self.key}{digest_left_out(self.left_out)}"

    @cached_property
    def table(self) -> pa.Table:
        """All faces, one row each, and one row with face -1 for each picture without a face.

        Columns: those of `analysis_schema` (without thumbnails) and source, landmarks_smoothed
        (px of the picture), smoothed, track, similarity (with the person's mean), flaws (what hides each region), kept,
        reason (null when kept). Rejected faces have neither crop nor embedding: they may be people who were not asked.
        """
        return pq.read_table(self.path / TABLE)

    @cached_property
    def selected(self) -> pa.Table:
        """The rows of the faces that selection kept, also of those that were left out by hand afterwards."""
        return self.table.filter(pc.field("kept"))

    @cached_property
    def selected_crops(self) -> list[str]:
        """File names of the crops of `selected`: a face's number is its place here, from 1."""
        return list(self.selected.column("crop").to_pylist())

    @cached_property
    def kept(self) -> pa.Table:
        """The rows of the kept faces."""
        if not self.left_out:
            return self.selected
        return self.selected.filter(pa.array([crop not in self.left_out for crop in self.selected_crops]))

    def describe_selected(self) -> list[SelectedFace]:
        """Describe every face that selection kept, in order of its number."""
        embeddings = column_to_array(self.selected, "embedding")
        mean = embeddings.mean(0) / np.linalg.norm(embeddings.mean(0))
        columns = ["crop", "source", "time", "frame", "sharpness", "pose", "size", "matrix", "landmarks"]
        return [
            SelectedFace(
                number=place + 1,
                crop=row["crop"],
                origin=_describe_origin(row["source"], row["time"]),
                sharpness=row["sharpness"],
                pose=-float(np.abs(row["pose"][:2]).max()),
                size=row["size"],
                likeness=float(embedding @ mean),
                landmarks=transform_points(
                    np.reshape(row["landmarks"], (LANDMARKS, 3)), np.reshape(row["matrix"], (2, 3))
                )
                / CROP_SIZE,
            )
            for place, (row, embedding) in enumerate(
                zip(self.selected.select(columns).to_pylist(), embeddings, strict=True)
            )
        ]

    @cached_property
    def landmarks(self) -> Floats:
        """Smoothed landmarks (N,478,3), px of the 512 crop."""
        points = column_to_array(self.kept, "landmarks_smoothed").reshape(-1, LANDMARKS, 3)
        return np.stack([transform_points(p, m) for p, m in zip(points, self._matrices, strict=True)])

    @cached_property
    def blendshapes(self) -> Floats:
        """Expressions (N,52), 0..1."""
        return column_to_array(self.kept, "blendshapes")

    @cached_property
    def pose(self) -> Floats:
        """Pitch, yaw, roll (N,3) in degrees."""
        return column_to_array(self.kept, "pose")

    @cached_property
    def embeddings(self) -> Floats:
        """Embeddings (N,E), L2-normalised."""
        return column_to_array(self.kept, "embedding")

    @cached_property
    def sharpness(self) -> Floats:
        """Variance of the Laplacian (N,) at the face's own resolution."""
        return column_to_array(self.kept, "sharpness")

    @cached_property
    def tracks(self) -> NDArray[np.int32]:
        """Track numbers (N,): equal where a face was followed through a shot; every still has its own."""
        return column_to_array(self.kept, "track")

    @cached_property
    def times(self) -> NDArray[np.float64]:
        """Seconds into the video (N,), NaN for stills."""
        return column_to_array(self.kept, "time").astype(np.float64)

    @cached_property
    def scores(self) -> Floats:
        """Detection scores (N,), 0..1."""
        return column_to_array(self.kept, "score")

    @cached_property
    def sizes(self) -> Floats:
        """Shorter side of the face box (N,), px of the source."""
        return column_to_array(self.kept, "size")

    @cached_property
    def flaws(self) -> Flaws:
        """What hides each of `topology.REGIONS` (N,5), None where it is visible; of many people it is not known.

        Sets of earlier versions do not hold it: it is then found now.

        Raises:
            UserError: The table holds a flaw that this version does not know.
        """
        if "flaws" in self.kept.column_names:
            flaws = np.array(self.kept.column("flaws").to_pylist(), object).reshape(-1, len(REGIONS))
            unknown = sorted({str(flaw) for flaw in flaws.flat} - {"None", *KINDS})
            if unknown:
                raise UserError(
                    f"{self.path / TABLE}: holds a flaw that this version does not know ({unknown[0]}); delete the "
                    "folder, and the faces are extracted anew"
                )
            return flaws
        if self.meta["settings"]["people"] != "one":
            return no_flaws(len(self))
        crops = [self.path / CROPS / name for name in self._crop_names]
        landmarks = column_to_array(self.kept, "landmarks").reshape(-1, LANDMARKS, 3)
        return find_flaws(crops, landmarks, self._matrices, CROP_SIZE, self.tracks, self.times, None)

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Whether each of `topology.REGIONS` shows nothing but the person, (N,5)."""
        return is_visible(self.flaws)

    @cached_property
    def _matrices(self) -> NDArray[np.float64]:
        return column_to_array(self.kept, "matrix").reshape(-1, 2, 3)

    @cached_property
    def _crop_names(self) -> list[str]:
        return list(self.kept.column("crop").to_pylist())

    def crop_name(self, i: int) -> str:
        """Return the file name of a kept face's crop."""
        return self._crop_names[i]

    def crop(self, i: int) -> NDArray[np.uint8]:
        """Return a kept face's crop (512,512,3) RGB on the template ffhq_512."""
        path = self.path / CROPS / self._crop_names[i]
        data = np.frombuffer(path.read_bytes(), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        if picture is None:
            raise UserError(f"{path}: is damaged; remove {self.path} and extract again")
        return np.asarray(picture, np.uint8)

    def aligned(
        self, template: str = "arcface_128", size: int = 128, rows: Sequence[int] | NDArray[np.integer] | None = None
    ) -> AlignedFaces:
        """Resample kept faces to a template and size, anti-aliased; nothing is cached.

        The alignment is that of the unsmoothed keypoints, as when a frame is aligned directly, so that training and
        inference see the same crops.

        Args:
            template: A key of `alignment.TEMPLATES`; KeyError for an unknown one.
            size: Side of the crops in px.
            rows: Numbers of the faces, in order; None: all.
        """
        chosen = np.arange(len(self)) if rows is None else np.asarray(rows, np.intp)
        raw = column_to_array(self.kept, "landmarks").reshape(-1, LANDMARKS, 3)
        images = np.empty((len(chosen), size, size, 3), np.uint8)
        landmarks = np.empty((len(chosen), LANDMARKS, 3), np.float32)
        for i, row in enumerate(chosen.tolist()):
            keypoints = transform_points(keypoints_from_landmarks(raw[row]), self._matrices[row])
            to_template = estimate_alignment(keypoints, template, size)
            images[i] = warp_face(self.crop(row), to_template, size)
            landmarks[i] = transform_points(self.landmarks[row], to_template)
        return AlignedFaces(images, landmarks, self.blendshapes[chosen], template, self.visible[chosen])

    def to_template(self, i: int, template: str, size: int) -> NDArray[np.float64]:
        """Return the matrix (2, 3) from a kept face's crop to a template, as `aligned` uses it.

        Args:
            i: Number of the kept face.
            template: A key of `alignment.TEMPLATES`.
            size: Side of the template's crop in px.
        """
        points = column_to_array(self.kept, "landmarks")[i].reshape(LANDMARKS, 3)
        return estimate_alignment(transform_points(keypoints_from_landmarks(points), self._matrices[i]), template, size)

    def to_source(self, i: int) -> NDArray[np.float64]:
        """Return the matrix (2, 3) from a kept face's crop to its source picture."""
        return invert_transform(self._matrices[i])

    def embedding_mean(self, method: Literal["weighted", "mean", "median"]) -> Floats:
        """Aggregate the embeddings to one (E,), L2-normalised.

        Args:
            method: weighted: by detection score * rank of sharpness (1/N for the most blurred, 1 for the sharpest) *
                frontalness (cos yaw * cos pitch, at least .05) * share of regions that are visible (at least .05).
                mean: all alike. median: per dimension, least moved by odd ones.

        Raises:
            ValueError: Another method.
        """
        if method == "weighted":
            total = np.average(self.embeddings, axis=0, weights=self._weights())
        elif method == "mean":
            total = self.embeddings.mean(axis=0)
        elif method == "median":
            total = np.median(self.embeddings, axis=0)
        else:
            raise ValueError(f"method must be weighted, mean or median, not {method!r}")
        return np.asarray(total / np.linalg.norm(total), np.float32)

    def embedding_std(self) -> Floats:
        """Return the standard deviation of the embeddings per dimension, (E,)."""
        return np.asarray(self.embeddings.std(axis=0), np.float32)

    def _weights(self) -> NDArray[np.float64]:
        rank = (1 + np.argsort(np.argsort(self.sharpness))) / len(self)
        pitch, yaw = np.radians(self.pose[:, 0]), np.radians(self.pose[:, 1])
        frontal = np.maximum(np.cos(yaw) * np.cos(pitch), 0.05)
        visible = np.maximum(self.visible.mean(1), 0.05)
        return np.asarray(np.maximum(self.scores, 1e-3) * rank * frontal * visible, np.float64)


def analysis_schema(embedding_size: int) -> pa.Schema:
    """Return the columns that analysis fills: one row a face, or one with face -1 for a picture without any.

    content: sha256 of the medium. frame: 0 for stills. time: seconds, null for stills. picture_size: width and height
    in px. box: xyxy px of the picture. size: shorter side of the box, px. landmarks: 478 x 3 flattened, px of the
    picture, as found. matrix: 2 x 3 flattened, picture to crop. crop: file name. crop_bytes and thumbnail serve
    resuming and cut detection only.

    Args:
        embedding_size: E, length of an embedding.
    """
    return pa.schema(
        [
            pa.field("content", pa.string(), nullable=False),
            pa.field("frame", pa.int32(), nullable=False),
            pa.field("time", pa.float64()),
            pa.field("face", pa.int16(), nullable=False),
            pa.field("picture_size", pa.list_(pa.int32(), 2)),
            pa.field("box", pa.list_(pa.float32(), 4)),
            pa.field("score", pa.float32()),
            pa.field("size", pa.float32()),
            pa.field("sharpness", pa.float32()),
            pa.field("pose", pa.list_(pa.float32(), 3)),
            pa.field("landmarks", pa.list_(pa.float32(), LANDMARKS * 3)),
            pa.field("blendshapes", pa.list_(pa.float32(), len(BLENDSHAPES))),
            pa.field("embedding", pa.list_(pa.float32(), embedding_size)),
            pa.field("matrix", pa.list_(pa.float64(), 6)),
            pa.field("crop", pa.string()),
            pa.field("crop_bytes", pa.int64()),
            pa.field("thumbnail", pa.binary(THUMBNAIL * THUMBNAIL)),
        ]
    )


def column_to_array(table: pa.Table, column: str) -> NDArray[Any]:
    """Return a column without nulls as an array: numbers (N,), fixed-size lists (N,K)."""
    data = table.column(column).combine_chunks()
    if pa.types.is_fixed_size_list(data.type):
        # flatten() and not .values: the latter ignores where a sliced array begins.
        return np.asarray(data.flatten().to_numpy(zero_copy_only=False)).reshape(len(data), -1)
    if pa.types.is_fixed_size_binary(data.type):
        return np.frombuffer(b"".join(data.to_pylist()), np.uint8).reshape(len(data), -1)
    return np.asarray(data.to_numpy(zero_copy_only=False))


def scatter_column(values: NDArray[Any], rows: NDArray[np.intp], length: int, kind: pa.DataType) -> pa.Array:
    """Make a column with values at given rows and null elsewhere.

    Args:
        values: (M,) or (M, K).
        rows: (M,) rows of the values.
        length: Rows of the column.
        kind: Its type.
    """
    column: list[Any] = [None] * length
    for row, value in zip(rows.tolist(), values, strict=True):
        column[row] = value
    return pa.array(column, kind)


def rows_to_table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Make a table of row dictionaries; missing keys are null."""
    return pa.Table.from_pylist(list(rows), schema=schema)
