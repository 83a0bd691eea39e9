"""The columns of a face set's table, and the way between them and numpy."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facesmith.faces.face import BLENDSHAPES, LANDMARKS
from facesmith.faces.tracking.tracks import THUMBNAIL

SCHEMA_VERSION: Final = 1
"""Counts up when the meaning of a column or of an extraction step changes: older sets are then made anew."""

TEMPLATE: Final = "ffhq_512"
CROP_SIZE: Final = 512


def analysed_schema(embedding_size: int) -> pa.Schema:
    """Give the columns that analysis fills: one row a face, or one with face -1 for a picture without any.

    content: sha256 of the medium. frame: 0 for stills. time: seconds, null for stills. box: xyxy px of the
    picture. size: shorter side of the box, px. landmarks: 478 x 3 flattened, px of the picture, as found.
    matrix: 2 x 3 flattened, picture to crop. crop: file name. crop_bytes and thumbnail serve resuming and
    cut detection only.
    """
    return pa.schema(
        [
            pa.field("content", pa.string(), nullable=False),
            pa.field("frame", pa.int32(), nullable=False),
            pa.field("time", pa.float64()),
            pa.field("face", pa.int16(), nullable=False),
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


def array(table: pa.Table, column: str) -> NDArray[Any]:
    """Give a column without nulls as an array: numbers (N,), fixed-size lists (N,K)."""
    data = table.column(column).combine_chunks()
    if pa.types.is_fixed_size_list(data.type):
        # flatten() and not .values: the latter ignores where a sliced array begins.
        return np.asarray(data.flatten().to_numpy(zero_copy_only=False)).reshape(len(data), -1)
    if pa.types.is_fixed_size_binary(data.type):
        return np.frombuffer(b"".join(data.to_pylist()), np.uint8).reshape(len(data), -1)
    return np.asarray(data.to_numpy(zero_copy_only=False))


def scattered(values: NDArray[Any], rows: NDArray[np.intp], length: int, kind: pa.DataType) -> pa.Array:
    """Make a column of `length` rows with values (M,) or (M,K) at the given rows and null elsewhere."""
    column: list[Any] = [None] * length
    for row, value in zip(rows.tolist(), values, strict=True):
        column[row] = value
    return pa.array(column, kind)


def as_table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Make a table of row dictionaries; missing keys are null."""
    return pa.Table.from_pylist(list(rows), schema=schema)
