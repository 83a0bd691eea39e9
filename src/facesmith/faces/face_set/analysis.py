"""Analysis of media: decoding on one thread, faces and their crops on several."""

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.errors import explain_failure, summarize_error
from facesmith.faces.face import Analyzer, Face
from facesmith.faces.face_set.face_set import CROP_SIZE, TEMPLATE
from facesmith.faces.geometry.alignment import estimate_alignment, transform_scale, warp_face
from facesmith.faces.measures import face_sharpness
from facesmith.faces.tracking.tracker import make_thumbnail
from facesmith.media.images import read_image
from facesmith.media.sources import Media
from facesmith.media.video import open_video

Backend = Literal["pyav", "decord"]

_MAKE_LOCK = threading.Lock()

# 4:4:4 at 95: 46.6 dB against the picture it came from, 2 dB over 4:2:0, at 1.3 times the bytes and equal
# time.
JPEG = (
    cv2.IMWRITE_JPEG_QUALITY,
    95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
)


@dataclass(frozen=True)
class ChosenMedia:
    """A medium and which of its pictures are wanted.

    Attributes:
        media: The file.
        content: sha256 of its bytes.
        frames: Numbers of the frames; [0] for a still.
    """

    media: Media
    content: str
    frames: Sequence[int]


@dataclass(frozen=True)
class AnalysedPicture:
    """One picture as rows of `analysis_schema`: one per face, or one for a picture without a face."""

    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class ReadFailure:
    """Something of a medium that could not be read.

    Attributes:
        media: The file.
        message: What is wrong, one line.
        unreadable: Whether nothing of the file could be read.
    """

    media: Media
    message: str
    unreadable: bool


@dataclass(frozen=True)
class _Picture:
    chosen: ChosenMedia
    frame: int
    time: float | None
    pixels: NDArray[np.uint8] | None


_BROKEN: Final = 3  # pictures in a row on which an analyzer fails
_Event = AnalysedPicture | ReadFailure | BaseException | None


def analyse_media(
    chosen: Sequence[ChosenMedia],
    first: Analyzer,
    factory: Callable[[], Analyzer],
    *,
    backend: Backend,
    workers: int,
    crops: Path,
) -> Generator[AnalysedPicture | ReadFailure, None, None]:
    """Analyse the chosen pictures, in no certain order.

    Decoding runs on one thread, analysis on several. Memory holds a few frames a worker, whatever the length of the
    media. An exception in any thread ends all of them and is raised here.

    Args:
        chosen: The media and their frames.
        first: The first worker's analyzer, left open.
        factory: Makes the analyzers of the other workers, closed at the end.
        backend: Reader of videos.
        workers: Number of analysis threads.
        crops: Existing folder; each face's crop is there before its row is yielded.

    Yields:
        AnalysedPicture pictures, and what could not be read.
    """
    pictures: queue.Queue[_Picture | None] = queue.Queue(maxsize=2 * workers)
    events: queue.Queue[_Event] = queue.Queue(maxsize=4 * workers)
    stop = threading.Event()
    threads = [_start(_decode, chosen, backend, workers, pictures, events, stop)]
    for number in range(workers):
        threads.append(_start(_work, first if number == 0 else None, factory, crops, pictures, events, stop))
    running = workers
    try:
        while running:
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            if event is None:
                running -= 1
            else:
                yield event
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _start(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, name=f"facesmith{target.__name__}", daemon=True)
    thread.start()
    return thread


def _put(to: "queue.Queue[Any]", item: object, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            to.put(item, timeout=0.1)
            return
        except queue.Full:
            continue


def _take(pictures: "queue.Queue[_Picture | None]", stop: threading.Event) -> _Picture | None:
    while not stop.is_set():
        try:
            return pictures.get(timeout=0.1)
        except queue.Empty:
            continue
    return None


def _decode(
    chosen: Sequence[ChosenMedia],
    backend: Backend,
    workers: int,
    pictures: "queue.Queue[_Picture | None]",
    events: "queue.Queue[_Event]",
    stop: threading.Event,
) -> None:
    try:
        for one in chosen:
            if stop.is_set():
                return
            if one.media.kind == "image":
                # Decoded by the workers: photographs take as long to decode as to analyse.
                _put(pictures, _Picture(one, 0, None, None), stop)
                continue
            delivered = 0
            try:
                with open_video(one.media.path, backend=backend) as reader:
                    for i, pixels in reader.frames(one.frames):
                        if i in reader.doubtful:
                            continue  # what a decoder conceals would be learnt as the person's face
                        _put(pictures, _Picture(one, i, float(reader.times[i]), pixels), stop)
                        delivered += 1
                        if stop.is_set():
                            return
                    if lost := reader.lost:
                        told = f"{one.media.path}: {'; '.join(lost)}"
                        _put(events, ReadFailure(one.media, told, delivered == 0), stop)
            except Exception as error:
                _put(events, ReadFailure(one.media, _explain(one.media, error), delivered == 0), stop)
    except BaseException as error:
        _put(events, error, stop)
    finally:
        for _ in range(workers):
            _put(pictures, None, stop)


def _explain(media: Media, error: Exception) -> str:
    """Return why one file among many cannot be used; an error of the machine ends them all."""
    if explain_failure(error, None, None) is not None:
        raise error
    reason = summarize_error(error)
    return reason if str(media.path) in reason else f"{media.path}: {reason}"


def _make_analyzer(factory: Callable[[], Analyzer]) -> Analyzer:
    # One after another: building native graphs side by side gains nothing.
    with _MAKE_LOCK:
        return factory()


def _work(
    first: Analyzer | None,
    factory: Callable[[], Analyzer],
    crops: Path,
    pictures: "queue.Queue[_Picture | None]",
    events: "queue.Queue[_Event]",
    stop: threading.Event,
) -> None:
    broken = 0
    try:
        with contextlib.nullcontext(first) if first else contextlib.closing(_make_analyzer(factory)) as analyzer:
            while (picture := _take(pictures, stop)) is not None:
                try:
                    event = _analyse_picture(picture, analyzer, crops)
                    broken = 0
                except Exception as error:
                    broken += 1
                    if broken == _BROKEN:
                        raise  # not the pictures: the analyzer
                    media = picture.chosen.media
                    event = ReadFailure(media, _explain(media, error), picture.pixels is None)
                _put(events, event, stop)
        _put(events, None, stop)
    except BaseException as error:
        _put(events, error, stop)


def _analyse_picture(picture: _Picture, analyzer: Analyzer, crops: Path) -> AnalysedPicture | ReadFailure:
    try:
        pixels = read_image(picture.chosen.media.path) if picture.pixels is None else picture.pixels
    except Exception as error:
        return ReadFailure(picture.chosen.media, _explain(picture.chosen.media, error), True)
    faces = analyzer(pixels)
    identity = {"content": picture.chosen.content, "frame": picture.frame, "time": picture.time}
    small = make_thumbnail(pixels).tobytes()
    name = f"{picture.chosen.content[:12]}_{picture.frame:07d}"
    rows = [
        {
            **identity,
            "face": number,
            "thumbnail": small,
            **_face_row(face, pixels, crops / f"{name}_{number}.jpg"),
        }
        for number, face in enumerate(faces)
    ]
    return AnalysedPicture(rows or [{**identity, "face": -1, "thumbnail": small}])


def _face_row(face: Face, pixels: NDArray[np.uint8], path: Path) -> dict[str, Any]:
    matrix = estimate_alignment(face.keypoints, TEMPLATE, CROP_SIZE)
    crop = warp_face(pixels, matrix, CROP_SIZE)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), JPEG)[1].tobytes()
    path.write_bytes(encoded)
    left, top, right, bottom = face.box
    return {
        "picture_size": (pixels.shape[1], pixels.shape[0]),
        "box": face.box,
        "score": face.score,
        "size": min(right - left, bottom - top),
        "sharpness": face_sharpness(crop, transform_scale(matrix)),
        "pose": face.pose,
        "landmarks": face.landmarks.ravel(),
        "blendshapes": face.blendshapes,
        "embedding": face.embedding,
        "matrix": matrix.ravel(),
        "crop": path.name,
        "crop_bytes": len(encoded),
    }
