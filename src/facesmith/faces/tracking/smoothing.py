"""Steadier landmarks along time: Savitzky-Golay within a track, pictures untouched."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from facesmith.faces.face_set.config import SmoothingConfig
from facesmith.faces.geometry import topology

Floats = NDArray[np.float32]

EVEN: Final = 1e-3
"""Steps in time are even when they differ by less than this share of a step."""

FAST_MOTION: Final = 3.0
"""A point so many times further off the fit than is usual for it moves for real: blinks last four frames."""


# rings begin at a corner, so that the i-th and the i-th from the end face each other
_RINGS: Final = (topology.LEFT_EYE, topology.RIGHT_EYE, topology.LIPS_INNER)
_OPENED: Final = (topology.LEFT_EYE, topology.RIGHT_EYE, topology.MOUTH)
_LEAST_OPENING: Final = 0.03  # of an eye's or mouth's width: below this a change of its height is noise


def smooth_landmarks(
    times: NDArray[np.float64], landmarks: Floats, tracks: NDArray[np.int32], smoothing: SmoothingConfig
) -> tuple[Floats, NDArray[np.bool_]]:
    """Fit a polynomial to each landmark's path around each moment, track by track.

    Where a landmark is far off the fit, by its own measure, the found point stays, and so do lids and lips whose
    opening is: the plain filter opens the eyes of a blinking person by half (lids .02 -> .10 of the eye distance in
    carphone), this one leaves them shut and still takes half of the jitter away.

    Args:
        times: (N,) seconds, ascending within a track; NaN for stills, whose tracks have one face.
        landmarks: (N, 478, 3).
        tracks: (N,) number of the track.
        smoothing: Length of the window and degree of the polynomial.

    Returns:
        The smoothed landmarks (N, 478, 3), and which rows were smoothed (N,); the rest is unchanged.
    """
    result = landmarks.copy()
    smoothed = np.zeros(len(times), np.bool_)
    for track in np.unique(tracks):
        rows = np.flatnonzero(tracks == track)
        if smoothing.window_seconds == 0 or len(rows) < smoothing.polyorder + 2:
            continue
        found = landmarks[rows]
        paths, done = _smooth_track(times[rows], found.reshape(len(rows), -1), smoothing)
        fitted = paths.reshape(found.shape)
        if done.any():
            distance = measure_misfit(found[done], fitted[done])
            fitted[done] = restore_fast_motion(found[done], fitted[done], distance, np.median(distance, axis=0))
        result[rows] = fitted
        smoothed[rows] = done
    return result, smoothed


def fit_polynomial_at(times: NDArray[np.float64], paths: Floats, row: int, smoothing: SmoothingConfig) -> Floats | None:
    """Fit a polynomial to the rows around one row, by least squares, and return its value there.

    At both ends the window stays inside the rows, as scipy's mode="interp" has it.

    Args:
        times: (N,) seconds, ascending, at any distance.
        paths: (N, C) values at these times.
        row: Number of the row.
        smoothing: Length of the window and degree of the polynomial.

    Returns:
        (C,); None where too few rows fall into the window.
    """
    width, order = smoothing.window_seconds, smoothing.polyorder
    if width == 0:
        return None
    slack = EVEN * width
    begin = max(times[0], min(times[row] - width / 2, times[-1] - width))
    near = (times >= begin - slack) & (times <= begin + width + slack)
    if near.sum() < order + 2:
        return None
    powers = np.vander((times[near] - times[row]) / width, order + 1, increasing=True)
    weights = np.linalg.pinv(powers)[0]
    return np.asarray(weights @ paths[near].astype(np.float64), np.float32)


def measure_misfit(found: Floats, fitted: Floats) -> Floats:
    """Measure how far landmarks are off the fit in the picture.

    Args:
        found: (..., 478, 3) landmarks as they were found.
        fitted: (..., 478, 3) landmarks of the fit.

    Returns:
        (..., 481) px: the distance of each landmark, and by how much left eye, right eye and mouth are open in one and
        not in the other. An opening is a mean of many pairs: it shows a lid's move long before single points do.
    """
    distance = np.linalg.norm((found - fitted)[..., :2], axis=-1)
    openings = np.abs(_openings(found) - _openings(fitted))
    return np.concatenate([distance, openings], -1).astype(np.float32)


def restore_fast_motion(found: Floats, fitted: Floats, distance: Floats, usual: Floats) -> Floats:
    """Go from the fit back to the found points where these are much further off it than usual.

    Args:
        found: (..., 478, 3) landmarks as they were found.
        fitted: (..., 478, 3) landmarks of the fit.
        distance: (..., 481) px between them, see `measure_misfit`.
        usual: (481,) px, what is usual of it.

    Returns:
        (..., 478, 3), between the fit and the found points.
    """
    limit = FAST_MOTION * usual + 1e-3
    limit = np.broadcast_to(limit, distance.shape).copy()
    count = found.shape[-2]
    for i, ring in enumerate(_RINGS):
        width = np.linalg.norm((found[..., ring[0], :] - found[..., ring[len(ring) // 2], :])[..., :2], axis=-1)
        limit[..., count + i] += _LEAST_OPENING * width
    share = 1 / (1 + (limit / np.maximum(distance, 1e-6)) ** 4)
    for i, moved in enumerate(_OPENED):
        share[..., moved] = np.maximum(share[..., moved], share[..., count + i, None])
    share = share[..., :count]
    return np.asarray(fitted + (found - fitted) * share[..., None], np.float32)


def _openings(landmarks: Floats) -> Floats:
    """Return the mean distance between upper and lower rim of left eye, right eye and mouth, (..., 3) px."""
    heights = []
    for ring in _RINGS:
        half = len(ring) // 2
        lower, upper = ring[1:half], ring[:half:-1]
        heights.append(np.linalg.norm((landmarks[..., lower, :] - landmarks[..., upper, :])[..., :2], axis=-1).mean(-1))
    return np.stack(heights, -1)


def _smooth_track(
    times: NDArray[np.float64], paths: Floats, smoothing: SmoothingConfig
) -> tuple[Floats, NDArray[np.bool_]]:
    steps = np.diff(times)
    step = float(np.median(steps))
    if np.all(np.abs(steps - step) < EVEN * step):
        window = 2 * int(smoothing.window_seconds / 2 / step + EVEN) + 1
        if window < smoothing.polyorder + 2:
            return paths, np.zeros(len(times), np.bool_)
        if window <= len(times):
            # In double precision: the fit cancels coordinates of thousands of px.
            fitted = savgol_filter(paths.astype(np.float64), window, smoothing.polyorder, axis=0, mode="interp")
            return fitted.astype(np.float32), np.ones(len(times), np.bool_)
    return _smooth_uneven(times, paths, smoothing)


def _smooth_uneven(
    times: NDArray[np.float64], paths: Floats, smoothing: SmoothingConfig
) -> tuple[Floats, NDArray[np.bool_]]:
    """Do what Savitzky-Golay does, for time stamps at any distance."""
    result = paths.copy()
    done = np.zeros(len(times), np.bool_)
    for i in range(len(times)):
        fitted = fit_polynomial_at(times, paths, i, smoothing)
        if fitted is not None:
            result[i] = fitted
            done[i] = True
    return result, done
