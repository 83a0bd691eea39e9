"""Masks from and for other programs: COCO, labelme, and CVAT's folders of PNG masks."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as coco  # type: ignore[import-untyped]

from facesmith.annotate.masks import Desk, Mask
from facesmith.errors import UserError
from facesmith.files import atomic_write, write_text

Format = Literal["coco", "labelme", "cvat"]

FACE: Final = "face"
HOLE: Final = "not_face"  # what is drawn over the face: labelme has no holes
_COLOUR: Final = (250, 50, 83)  # of a face in CVAT's PNG masks


def read(path: Path, form: Format, side: int) -> Iterator[tuple[str, Mask]]:
    """Return names of pictures (without ending) and their masks (side,side) uint8 0 or 255.

    path: a COCO .json; a folder of labelme .json; a folder as CVAT exports "Segmentation mask 1.1". Shapes labelled
    `face` are visible face; in labelme, shapes labelled `not_face` are taken away again.

    Raises:
        UserError: the file is damaged, of another size than the crops, or holds no `face`.
    """
    try:
        yield from {"coco": _from_coco, "labelme": _from_labelme, "cvat": _from_cvat}[form](path, side)
    except (KeyError, TypeError, ValueError, OSError, UnidentifiedImageError) as error:
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise UserError(f"{path}: cannot be read as {form} ({why}); export it again") from error


def write(desk: Desk, path: Path, form: Format) -> int:
    """Write every saved mask of a desk for another program; give how many. The crops are written beside them."""
    rows = [row for row in range(len(desk)) if desk.is_kept(row)]
    if not rows:
        raise UserError(f"masks={desk.folder}: nothing was painted yet; there is nothing to export")
    {"coco": _to_coco, "labelme": _to_labelme, "cvat": _to_cvat}[form](desk, rows, path)
    return len(rows)


def take(desk: Desk, path: Path, form: Format) -> int:
    """Save the masks of another program on a desk, as painted; give how many.

    Raises:
        UserError: as `read`, or a picture is none of the desk's faces; nothing is saved then.
    """
    rows = {desk.name(row): row for row in range(len(desk))}
    masks = dict(read(path, form, desk.faces.crop_size))
    strange = sorted(set(masks) - set(rows))
    if strange or not masks:
        what = f"{strange[0]} is no face of {desk.faces.path}" if strange else f"no picture has a `{FACE}`"
        raise UserError(f"{path}: {what}; export the crops with format={form} first, and annotate those")
    desk.paint_all((rows[name], mask) for name, mask in masks.items())
    return len(masks)


def _from_coco(path: Path, side: int) -> Iterator[tuple[str, Mask]]:
    told = json.loads(path.read_text(encoding="utf-8"))
    faces = [c["id"] for c in told["categories"] if c["name"] == FACE]
    if not faces:
        raise ValueError(f"no category is called {FACE}")
    for picture in told["images"]:
        _same_size(picture["file_name"], picture["width"], picture["height"], side)
        mask = np.zeros((side, side), np.uint8)
        shapes = [a for a in told["annotations"] if a["image_id"] == picture["id"] and a["category_id"] in faces]
        for shape in shapes:
            mask |= _decoded(shape["segmentation"], side)
        if shapes:
            yield Path(picture["file_name"]).stem, mask


def _decoded(segmentation: Any, side: int) -> Mask:
    if isinstance(segmentation, list):
        runs = coco.merge(coco.frPyObjects(segmentation, side, side))
    elif isinstance(segmentation["counts"], list):
        runs = coco.frPyObjects(segmentation, side, side)
    else:
        runs = segmentation
    return np.asarray(coco.decode(runs) * 255, np.uint8)


def _to_coco(desk: Desk, rows: list[int], path: Path) -> None:
    side = desk.faces.crop_size
    pictures, shapes = [], []
    for row in rows:
        runs = coco.encode(np.asfortranarray(desk.mask(row) // 255))
        pictures.append({"id": row + 1, "file_name": f"{desk.name(row)}.jpg", "width": side, "height": side})
        shapes.append(
            {
                "id": row + 1,
                "image_id": row + 1,
                "category_id": 1,
                "iscrowd": 1,  # in COCO, what has run lengths
                "area": int(coco.area(runs)),
                "bbox": [float(v) for v in coco.toBbox(runs)],
                "segmentation": {"size": runs["size"], "counts": runs["counts"].decode("ascii")},
            }
        )
        _crop(desk, row, path.parent / "images")
    write_text(path, json.dumps({"images": pictures, "annotations": shapes, "categories": [{"id": 1, "name": FACE}]}))


def _from_labelme(folder: Path, side: int) -> Iterator[tuple[str, Mask]]:
    for path in sorted(folder.glob("*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        _same_size(path, told["imageWidth"], told["imageHeight"], side)
        mask = np.zeros((side, side), np.uint8)
        for label, value in ((FACE, 255), (HOLE, 0)):
            for shape in (s for s in told["shapes"] if s["label"] == label):
                _draw(mask, shape, value)
        if any(shape["label"] == FACE for shape in told["shapes"]):
            yield path.stem, mask


def _draw(mask: Mask, shape: dict[str, Any], value: int) -> None:
    points = np.array(shape["points"], np.float64)
    kind = shape.get("shape_type", "polygon")
    if kind == "polygon":
        cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], value)
    elif kind == "rectangle":
        (left, top), (right, bottom) = np.rint(points).astype(int).tolist()
        cv2.rectangle(mask, (left, top), (right, bottom), value, -1)
    elif kind == "circle":
        radius = float(np.linalg.norm(points[1] - points[0]))
        x, y = np.rint(points[0]).astype(int).tolist()
        cv2.circle(mask, (x, y), round(radius), value, -1)
    elif kind == "mask":
        left, top = np.rint(points[0]).astype(int)
        drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))) > 0
        mask[top : top + drawn.shape[0], left : left + drawn.shape[1]][drawn] = value
    else:
        raise ValueError(f"a shape is a {kind}; use polygons, rectangles, circles or masks")


def _to_labelme(desk: Desk, rows: list[int], folder: Path) -> None:
    side = desk.faces.crop_size
    for row in rows:
        shapes = _polygons(desk.mask(row))
        _crop(desk, row, folder)
        told: dict[str, Any] = {
            "version": "5.0.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"{desk.name(row)}.jpg",
            "imageData": None,
            "imageWidth": side,
            "imageHeight": side,
        }
        write_text(folder / f"{desk.name(row)}.json", json.dumps(told))


def _polygons(mask: Mask) -> list[dict[str, Any]]:
    """Return polygons that draw the mask exactly; where they cannot, an island in a hole say, the mask itself."""
    shapes, drawn, rest = [], np.zeros_like(mask), mask
    for label, value in ((FACE, 255), (HOLE, 0)):
        outlines, _ = cv2.findContours(rest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for outline in outlines:
            cv2.fillPoly(drawn, [outline], value)
            shapes.append({"label": label, "points": outline[:, 0].tolist(), "shape_type": "polygon", **_UNUSED})
        rest = drawn & ~mask
    if np.array_equal(drawn, mask):
        return shapes
    packed = io.BytesIO()
    Image.fromarray(mask).save(packed, "PNG")
    corners = [[0, 0], [mask.shape[1] - 1, mask.shape[0] - 1]]
    text = base64.b64encode(packed.getvalue()).decode("ascii")
    return [{"label": FACE, "points": corners, "shape_type": "mask", "mask": text, **_UNUSED}]


_UNUSED: Final[dict[str, Any]] = {"group_id": None, "flags": {}}


def _from_cvat(folder: Path, side: int) -> Iterator[tuple[str, Mask]]:
    colours = {}
    for line in (folder / "labelmap.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            label, colour = line.split(":")[:2]
            colours[label] = tuple(int(v) for v in colour.split(","))
    if FACE not in colours:
        raise ValueError(f"labelmap.txt has no {FACE}")
    for path in sorted((folder / "SegmentationClass").glob("*.png")):
        picture = np.asarray(Image.open(path).convert("RGB"))
        _same_size(path, picture.shape[1], picture.shape[0], side)
        yield path.stem, np.where((picture == colours[FACE]).all(-1), 255, 0).astype(np.uint8)


def _to_cvat(desk: Desk, rows: list[int], folder: Path) -> None:
    classes = folder / "SegmentationClass"
    for row in rows:
        picture = np.zeros((*desk.mask(row).shape, 3), np.uint8)
        picture[desk.mask(row) > 127] = _COLOUR
        with atomic_write(classes / f"{desk.name(row)}.png") as temporary:
            Image.fromarray(picture).save(temporary, "PNG")
        _crop(desk, row, folder / "JPEGImages")
    listed = "".join(f"{desk.name(row)}\n" for row in rows)
    write_text(folder / "ImageSets" / "Segmentation" / "default.txt", listed)
    colour = ",".join(str(v) for v in _COLOUR)
    write_text(folder / "labelmap.txt", f"# label:color_rgb:parts:actions\nbackground:0,0,0::\n{FACE}:{colour}::\n")


def _crop(desk: Desk, row: int, folder: Path) -> None:
    with atomic_write(folder / f"{desk.name(row)}.jpg") as temporary:
        temporary.write_bytes(desk.crop_path(row).read_bytes())


def _same_size(name: object, width: int, height: int, side: int) -> None:
    if (width, height) != (side, side):
        raise UserError(f"{name}: is {width}x{height} px, the crops {side}x{side}; annotate the exported crops")
