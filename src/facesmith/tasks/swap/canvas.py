"""Pictures that faces are cut from and pasted into: RGB arrays, and frames of a video as they were decoded."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.faces.geometry.alignment import Matrix, invert_transform, transform_points, warp_face
from facesmith.media.planes import Plane, PlaneFrame
from facesmith.media.stills import Still
from facesmith.tasks.swap.blending import Blend, Floats, blend
from facesmith.tasks.swap.paste import Bounds, fade_mask, find_bounds, paste_back, warp_back, warp_mask

Picture = npt.NDArray[np.integer[Any]]


_AROUND: Final = 2  # px around a crop that interpolation may reach


class Canvas(Protocol):
    """A picture that faces are cut from and pasted into."""

    def crop(self, matrix: Matrix, size: int) -> Floats:
        """Cut an aligned crop out of the picture.

        Args:
            matrix: (2,3), picture to crop.
            size: Side of the crop in px.

        Returns:
            (size,size,3) RGB 0..255, as a standard display shows it.
        """
        ...

    def paste(self, face: Floats, mask: Floats, matrix: Matrix, how: Blend = "linear") -> None:
        """Blend a face crop into the picture.

        Args:
            face: (S,S,3) RGB 0..255, meaningful inside the mask.
            mask: How much of the face shows, (S,S) 0..1; where it is 0 the picture stays bit-equal.
            matrix: (2,3), picture to crop.
            how: See `blend`.
        """
        ...


class RgbCanvas:
    """An RGB picture, of 8 or 16 bits, changed in place.

    Attributes:
        picture: (H,W,3).
    """

    def __init__(self, picture: Picture) -> None:
        self.picture = picture

    def crop(self, matrix: Matrix, size: int) -> Floats:
        """Cut a crop, see `Canvas`."""
        crop = warp_face(self.picture, matrix, size).astype(np.float32)
        return crop if self.picture.dtype == np.uint8 else crop / np.float32(257)

    def paste(self, face: Floats, mask: Floats, matrix: Matrix, how: Blend = "linear") -> None:
        """Paste a face, see `Canvas`."""
        paste_back(self.picture, face, mask, matrix, how)


class StillCanvas(RgbCanvas):
    """A still picture in a colour space of its own, changed in place.

    Attributes:
        picture: Its pixels.
    """

    def __init__(self, still: Still) -> None:
        super().__init__(still.pixels)
        self._still = still

    def crop(self, matrix: Matrix, size: int) -> Floats:
        """Cut a crop, see `Canvas`."""
        return self._still.to_srgb(super().crop(matrix, size))

    def paste(self, face: Floats, mask: Floats, matrix: Matrix, how: Blend = "linear") -> None:
        """Paste a face, see `Canvas`."""
        super().paste(self._still.from_srgb(face), mask, matrix, how)


class PlaneCanvas:
    """A frame as it was decoded, changed in place; only the box of a pasted face is converted.

    Each plane is blended at its own resolution, in floating point, and rounded to the frame's own depth: nothing
    outside the mask changes by a bit, and chroma is neither spread nor averaged.

    Attributes:
        frame: The frame.
    """

    def __init__(self, frame: PlaneFrame) -> None:
        self.frame = frame
        self._turn = frame.orientation.from_stored(frame.frame.width, frame.frame.height)
        self._is_own = False

    def crop(self, matrix: Matrix, size: int) -> Floats:
        """Cut a crop, see `Canvas`."""
        codes = [_cut(plane.codes, self._from_plane(plane, matrix), size) for plane in self.frame.planes]
        return np.clip(self.frame.signal.to_display(self._with_chroma(codes)), 0, 255)

    def paste(self, face: Floats, mask: Floats, matrix: Matrix, how: Blend = "linear") -> None:
        """Paste a face, see `Canvas`."""
        if not self._is_own:
            self.frame.make_writable()
            self._is_own = True
        fading = fade_mask(mask)
        if how == "linear":
            self._paste_codes(self.frame.signal.from_display(np.clip(face, 0, 255)), fading, matrix)
        else:
            self._paste_rgb(face, fading, matrix, how)

    def _from_plane(self, plane: Plane, matrix: Matrix) -> Matrix:
        """Return the matrix from px of a plane to px of a crop."""
        return _chain(_chain(plane.to_frame, self._turn), matrix)

    def _with_chroma(self, codes: Sequence[Picture | Floats]) -> Floats:
        """Return planes of one size as (H,W,3); grey has neutral chroma."""
        middle = np.float32(1 << (self.frame.signal.bits - 1))
        planes = [np.asarray(one, np.float32) for one in codes]
        return np.asarray(
            cv2.merge(planes if len(planes) == 3 else [planes[0], *[np.full_like(planes[0], middle)] * 2])
        )

    def _paste_codes(self, face: Floats, fading: Floats, matrix: Matrix) -> None:
        alphas: dict[bytes, tuple[Bounds, Floats] | None] = {}
        for at, plane in enumerate(self.frame.planes):
            turn = self._from_plane(plane, matrix)
            key = turn.tobytes()
            if key not in alphas:  # both planes of chroma have one
                bounds = find_bounds(fading, turn, plane.codes.shape[1], plane.codes.shape[0])
                alphas[key] = None if bounds is None else (bounds, warp_mask(fading, turn, bounds))
            found = alphas[key]
            if found is not None:
                bounds, alpha = found
                above = warp_back(np.ascontiguousarray(face[..., at]), turn, bounds)
                part = _part(plane, bounds)
                above -= part
                above *= alpha
                above += part
                _write(part, above, self.frame.signal.maximum)

    def _paste_rgb(self, face: Floats, fading: Floats, matrix: Matrix, how: Blend) -> None:
        """Blend in RGB, and add what changed to the planes."""
        luma, *chroma = self.frame.planes
        turn = self._from_plane(luma, matrix)
        bounds = find_bounds(fading, turn, luma.codes.shape[1], luma.codes.shape[0])
        if bounds is None:
            return
        left, top, right, bottom = bounds
        size = (right - left, bottom - top)
        alpha = warp_mask(fading, turn, bounds)
        part = _part(luma, bounds)
        codes: list[Picture | Floats] = [part]
        for plane in chroma:
            to_luma = plane.to_frame.copy()
            to_luma[:, 2] -= left, top
            spread = cv2.warpAffine(plane.codes, to_luma, size, borderMode=cv2.BORDER_REPLICATE)
            codes.append(np.asarray(spread, plane.codes.dtype))
        signal = self.frame.signal
        below = signal.to_display(self._with_chroma(codes))
        blended = blend(below, warp_back(face, turn, bounds), alpha, how)
        change = (signal.from_display(blended) - signal.from_display(below)) * (alpha > 0)[..., None]
        _write(part, part + change[..., 0], signal.maximum)
        for at, plane in enumerate(chroma, 1):
            scale = plane.to_frame
            low = np.floor((np.array([left, top]) - scale[:, 2]) / scale.diagonal()).astype(int)
            high = np.ceil((np.array([right, bottom]) - scale[:, 2]) / scale.diagonal()).astype(int)
            height, width = plane.codes.shape
            box = (max(int(low[0]), 0), max(int(low[1]), 0), min(int(high[0]), width), min(int(high[1]), height))
            back = cv2.invertAffineTransform(scale)
            back[:, 2] += np.array([left, top]) / scale.diagonal() - box[:2]
            ready = cv2.blur(change[..., at], (int(scale[0, 0]), int(scale[1, 1])), borderType=cv2.BORDER_REFLECT)
            small = cv2.warpAffine(ready, back, (box[2] - box[0], box[3] - box[1]), flags=cv2.INTER_LINEAR)
            part = _part(plane, box)
            _write(part, part + small, signal.maximum)


def _cut(codes: Picture, matrix: Matrix, size: int) -> Floats:
    """Cut a crop out of a plane, in floating point: rounded means of whole numbers would be too high on average."""
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) - 0.5
    seen = transform_points(corners, invert_transform(matrix))
    sides = np.array(codes.shape[::-1])
    low = np.clip(np.floor(seen.min(0)).astype(int) - _AROUND, 0, sides - 1)
    high = np.clip(np.ceil(seen.max(0)).astype(int) + _AROUND, low + 1, sides)
    part = codes[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    return warp_face(part, np.column_stack([matrix[:, :2], matrix[:, :2] @ low + matrix[:, 2]]), size)


def _part(plane: Plane, bounds: Bounds) -> Picture:
    left, top, right, bottom = bounds
    return plane.codes[top:bottom, left:right]


def _write(part: Picture, values: Floats, maximum: int) -> None:
    np.rint(values, out=values)
    np.clip(values, 0, maximum, out=values)
    part[...] = values.astype(part.dtype)


def _chain(first: Matrix, second: Matrix) -> Matrix:
    """Return the matrix that does the first, then the second."""
    turn = second[:, :2]
    return np.column_stack([turn @ first[:, :2], turn @ first[:, 2] + second[:, 2]])
