"""Steadier landmarks along time: Savitzky-Golay within a track, pictures untouched."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from facesmith.faces.face_set.config import SmoothingConfig

EVEN = 1e-3

FAST_MOTION = 3.0
"""A point so many times further off the fit than is usual for it moves for real: blinks last four frames."""


def smooth_landmarks(
    times: NDArray[np.float64],
    landmarks: NDArray[np.float32],
    tracks: NDArray[np.int32],
    smoothing: SmoothingConfig,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Fit a polynomial to each landmark's path around each moment, track by track.

    Where a landmark is far off the fit, by its own measure, the found point stays: the plain filter opens
    the eyes of a blinking person by half (lids .02 -> .10 of the eye distance in carphone), this one leaves
    them shut and still takes half of the jitter away.

    times: (N,) seconds, ascending within a track (NaN for stills, whose tracks have one face). landmarks:
    (N,478,3). tracks: (N,). Gives the smoothed landmarks (N,478,3) and which rows were smoothed (N,) bool;
    the rest is unchanged.
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
        fitted[done] = _with_quick_motion(found[done], fitted[done])
        result[rows] = fitted
        smoothed[rows] = done
    return result, smoothed


def _smooth_track(
    times: NDArray[np.float64], paths: NDArray[np.float32], smoothing: SmoothingConfig
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
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


def _with_quick_motion(found: NDArray[np.float32], fitted: NDArray[np.float32]) -> NDArray[np.float32]:
    """Go from the fit (M,478,3) back to the found points where these are unusually far off it."""
    if not len(found):
        return fitted
    distance = landmark_distance(found, fitted)
    return restore_fast_motion(found, fitted, distance, np.median(distance, axis=0))


def landmark_distance(found: NDArray[np.float32], fitted: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far landmarks (...,478,3) are off the fit in the picture: (...,478) px."""
    return np.asarray(np.linalg.norm((found - fitted)[..., :2], axis=-1), np.float32)


def restore_fast_motion(
    found: NDArray[np.float32],
    fitted: NDArray[np.float32],
    distance: NDArray[np.float32],
    usual: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Go from the fit (...,478,3) back to the found points where these are much further off it than usual (478,)."""
    limit = FAST_MOTION * usual + 1e-3
    quick = 1 / (1 + (limit / np.maximum(distance, 1e-6)) ** 4)
    return np.asarray(fitted + (found - fitted) * quick[..., None], np.float32)


def _smooth_uneven(
    times: NDArray[np.float64], paths: NDArray[np.float32], smoothing: SmoothingConfig
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Do what Savitzky-Golay does, for time stamps at any distance: a least-squares fit around each one.

    At both ends the window stays inside the track, as scipy's mode="interp" has it.
    """
    result = paths.copy()
    done = np.zeros(len(times), np.bool_)
    for i in range(len(times)):
        fitted = fit_polynomial_at(times, paths, i, smoothing)
        if fitted is not None:
            result[i] = fitted
            done[i] = True
    return result, done


def fit_polynomial_at(
    times: NDArray[np.float64], paths: NDArray[np.float32], i: int, smoothing: SmoothingConfig
) -> NDArray[np.float32] | None:
    """The polynomial fitted around row i, at its time: (N,) seconds, (N,C) -> (C,); None with too few rows."""
    width, order = smoothing.window_seconds, smoothing.polyorder
    if width == 0:
        return None
    slack = EVEN * width
    begin = max(times[0], min(times[i] - width / 2, times[-1] - width))
    near = (times >= begin - slack) & (times <= begin + width + slack)
    if near.sum() < order + 2:
        return None
    powers = np.vander((times[near] - times[i]) / width, order + 1, increasing=True)
    weights = np.linalg.pinv(powers)[0]
    return np.asarray(weights @ paths[near].astype(np.float64), np.float32)
