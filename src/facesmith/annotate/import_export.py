"""Import and export of masks for other programs: COCO, labelme, and CVAT's folders of PNG masks."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco

from facesmith.annotate.interpolation import Mask
from facesmith.annotate.masks import MaskStore
from facesmith.annotate.shapes import decode_coco, draw_labelme
from facesmith.errors import UserError
from facesmith.files import atomic_write, read_user_text, write_text

Format = Literal["coco", "labelme", "cvat"]

FACE: Final = "face"
HOLE: Final = "not_face"  # what is drawn over the face: labelme has no holes
_COLOUR: Final = (250, 50, 83)  # of a face in CVAT's PNG masks


def read_masks(path: Path, form: Format, size: int) -> Iterator[tuple[str, Mask]]:
    """Read masks that another program wrote.

    Shapes labelled `face` are visible face; in labelme, shapes labelled `not_face` are cut out of them.

    Args:
        path: A COCO .json file; a folder of labelme .json files; a folder of CVAT's "Segmentation mask 1.1".
        form: Which of these.
        size: Width and height of the crops in px.

    Yields:
        The name of a picture without its suffix, and its mask (size,size) uint8, 0 or 255.

    Raises:
        UserError: A file is damaged, has another size than the crops, or has no `face`.
    """
    try:
        yield from {"coco": _from_coco, "labelme": _from_labelme, "cvat": _from_cvat}[form](path, size)
    except UserError:
        raise
    except Exception as error:  # whatever other programs write, or people into their files
        raise _unreadable(path, form, error) from error


def _unreadable(path: Path, form: str, error: Exception) -> UserError:
    why = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:160]
    return UserError(f"{path}: cannot be read as {form} ({why or type(error).__name__}); export it again")


def export_masks(store: MaskStore, path: Path, form: Format) -> int:
    """Write every saved mask for another program, and the crops beside them.

    Args:
        store: The masks.
        path: A .json file for COCO, else a folder.
        form: The format.

    Returns:
        The number of masks written.

    Raises:
        UserError: No mask is saved.
    """
    rows = [row for row in range(len(store)) if store.is_saved(row)]
    if not rows:
        raise UserError(f"masks={store.folder}: nothing was painted yet; there is nothing to export")
    {"coco": _to_coco, "labelme": _to_labelme, "cvat": _to_cvat}[form](store, rows, path)
    return len(rows)


def import_masks(store: MaskStore, path: Path, form: Format) -> int:
    """Save the masks of another program as painted.

    Args:
        store: Takes the masks.
        path: What to read, see `read_masks`.
        form: Its format.

    Returns:
        The number of masks saved.

    Raises:
        UserError: As `read_masks`, or a picture is none of the faces; nothing is saved then.
    """
    rows = {store.name(row): row for row in range(len(store))}
    masks = dict(read_masks(path, form, store.faces.crop_size))
    unknown = sorted(set(masks) - set(rows))
    if unknown or not masks:
        what = f"{unknown[0]} is no face of {store.faces.path}" if unknown else f"no picture has a `{FACE}`"
        raise UserError(f"{path}: {what}; export the crops with format={form} first, and annotate those")
    store.paint_many((rows[name], mask) for name, mask in masks.items())
    return len(masks)


def _from_coco(path: Path, size: int) -> Iterator[tuple[str, Mask]]:
    document = json.loads(read_user_text(path))
    faces = [c["id"] for c in document["categories"] if c["name"] == FACE]
    if not faces:
        raise ValueError(f"no category is called {FACE}")
    for picture in document["images"]:
        _check_size(picture["file_name"], picture["width"], picture["height"], size)
        mask = np.zeros((size, size), np.uint8)
        shapes = [a for a in document["annotations"] if a["image_id"] == picture["id"] and a["category_id"] in faces]
        for shape in shapes:
            mask |= decode_coco(shape["segmentation"], size)
        if shapes:
            yield Path(picture["file_name"]).stem, mask


def _to_coco(store: MaskStore, rows: list[int], path: Path) -> None:
    size = store.faces.crop_size
    pictures, shapes = [], []
    for row in rows:
        runs = coco.encode(np.asfortranarray(store.mask(row) // 255))
        pictures.append({"id": row + 1, "file_name": f"{store.name(row)}.jpg", "width": size, "height": size})
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
        _write_crop(store, row, path.parent / "images")
    write_text(path, json.dumps({"images": pictures, "annotations": shapes, "categories": [{"id": 1, "name": FACE}]}))


def _from_labelme(folder: Path, size: int) -> Iterator[tuple[str, Mask]]:
    for path in sorted(folder.glob("*.json")):
        try:
            document = json.loads(read_user_text(path))
            _check_size(path, document["imageWidth"], document["imageHeight"], size)
            mask = np.zeros((size, size), np.uint8)
            for label, value in ((FACE, 255), (HOLE, 0)):
                for shape in (s for s in document["shapes"] if s["label"] == label):
                    draw_labelme(mask, shape, value)
            found = any(shape["label"] == FACE for shape in document["shapes"])
        except UserError:
            raise
        except Exception as error:
            raise _unreadable(path, "labelme", error) from error
        if found:
            yield path.stem, mask


def _to_labelme(store: MaskStore, rows: list[int], folder: Path) -> None:
    size = store.faces.crop_size
    for row in rows:
        shapes = _polygons(store.mask(row))
        _write_crop(store, row, folder)
        document: dict[str, Any] = {
            "version": "5.0.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"{store.name(row)}.jpg",
            "imageData": None,
            "imageWidth": size,
            "imageHeight": size,
        }
        write_text(folder / f"{store.name(row)}.json", json.dumps(document))


def _polygons(mask: Mask) -> list[dict[str, Any]]:
    """Return polygons that draw the mask exactly, or the mask itself where polygons cannot: an island in a hole."""
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


def _from_cvat(folder: Path, size: int) -> Iterator[tuple[str, Mask]]:
    colours = {}
    for line in read_user_text(folder / "labelmap.txt").splitlines():
        if line.strip() and not line.startswith("#"):
            label, colour = line.split(":")[:2]
            colours[label] = tuple(int(v) for v in colour.split(","))
    if FACE not in colours:
        raise ValueError(f"labelmap.txt has no {FACE}")
    for path in sorted((folder / "SegmentationClass").glob("*.png")):
        picture = np.asarray(Image.open(path).convert("RGB"))
        _check_size(path, picture.shape[1], picture.shape[0], size)
        yield path.stem, np.where((picture == colours[FACE]).all(-1), 255, 0).astype(np.uint8)


def _to_cvat(store: MaskStore, rows: list[int], folder: Path) -> None:
    classes = folder / "SegmentationClass"
    for row in rows:
        picture = np.zeros((*store.mask(row).shape, 3), np.uint8)
        picture[store.mask(row) > 127] = _COLOUR
        with atomic_write(classes / f"{store.name(row)}.png") as temporary:
            Image.fromarray(picture).save(temporary, "PNG")
        _write_crop(store, row, folder / "JPEGImages")
    listed = "".join(f"{store.name(row)}\n" for row in rows)
    write_text(folder / "ImageSets" / "Segmentation" / "default.txt", listed)
    colour = ",".join(str(v) for v in _COLOUR)
    write_text(folder / "labelmap.txt", f"# label:color_rgb:parts:actions\nbackground:0,0,0::\n{FACE}:{colour}::\n")


def _write_crop(store: MaskStore, row: int, folder: Path) -> None:
    with atomic_write(folder / f"{store.name(row)}.jpg") as temporary:
        temporary.write_bytes(store.crop_path(row).read_bytes())


def _check_size(name: object, width: int, height: int, size: int) -> None:
    if (width, height) != (size, size):
        raise UserError(f"{name}: is {width}x{height} px, the crops {size}x{size}; annotate the exported crops")
