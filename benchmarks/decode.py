"""Uniform reading of 1000 frames from a 5-minute 720p H.264 video: ours against the plain ways of OpenCV.

Run `python benchmarks/decode.py`. The video is 30 s of real pictures encoded as x264 `medium` does (3
B-frames, b-pyramid, keyframes up to 250 frames apart), its packets repeated to the full length. Every frame
carries its number, so that each way's wrong frames are counted. CPU seconds of one thread; OpenCV's seek per
frame is timed on a sample.
"""

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np

from facesmith.assets import fetch
from facesmith.media.sampling import evenly_spaced
from facesmith.media.video import open_video
from video_loop import repeat_clip

RATE, CHUNK_SECONDS, BITS = 24, 30, 12


def stamp(image: np.ndarray, number: int) -> np.ndarray:
    image = image.copy()
    for bit in range(BITS):
        image[0:32, bit * 32 : bit * 32 + 32] = 255 if number >> bit & 1 else 0
    return image


def number_of(image: np.ndarray) -> int:
    return sum(int(image[8:24, bit * 32 + 8 : bit * 32 + 24].mean() > 128) << bit for bit in range(BITS))


def make_video(path: Path, seconds: int) -> int:
    """Write the test video and return how many frames it has."""
    with av.open(str(fetch("bigbuckbunny.mp4"))) as container:
        pictures = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    pictures = [cv2.resize(picture, (1280, 720)) for picture in pictures]
    chunk = path.with_name("chunk.mp4")
    frames = CHUNK_SECONDS * RATE
    with av.open(str(chunk), "w") as output:
        stream = output.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        stream.options = {"preset": "medium", "crf": "23"}
        for number in range(frames):
            # There and back again, so that the cut of the loop is no cut.
            at = number % (2 * len(pictures) - 2)
            picture = pictures[at if at < len(pictures) else 2 * len(pictures) - 2 - at]
            frame = av.VideoFrame.from_ndarray(stamp(picture, number), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    repeat_clip(chunk, path, CHUNK_SECONDS, seconds // CHUNK_SECONDS)
    return frames * (seconds // CHUNK_SECONDS)


def measure(name: str, frames: Iterable[tuple[int, np.ndarray]], start: float, wall: float) -> tuple[float, int]:
    wrong = count = 0
    for index, image in frames:
        count += 1
        wrong += number_of(image) != index % (CHUNK_SECONDS * RATE)
    cpu = time.process_time() - start
    print(f"{name:34s} {count:5d} frames {cpu:7.2f} CPU-s {time.perf_counter() - wall:7.2f} s  {wrong} wrong")
    return cpu / max(count, 1), wrong


def opencv_seeking(path: Path, indices: list[int]) -> Iterable[tuple[int, np.ndarray]]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    for index in indices:
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        good, image = capture.read()
        if good:
            yield index, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def opencv_in_order(path: Path, indices: list[int]) -> Iterable[tuple[int, np.ndarray]]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    wanted = set(indices)
    for index in range(indices[-1] + 1):
        good = capture.grab()
        if good and index in wanted:
            yield index, cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=40, help="frames on which seeking with OpenCV is timed")
    parser.add_argument("--video", type=Path, help="keep the test video here and use it again")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = options.video or Path(folder) / "video.mp4"
        total = options.seconds * RATE if path.exists() else make_video(path, options.seconds)
        indices = evenly_spaced(total, options.frames, ends=True)
        sample = indices[:: max(1, len(indices) // options.sample)]
        start, wall = time.process_time(), time.perf_counter()
        open_video(path).close()
        print(f"index of {total} frames: {time.perf_counter() - wall:.3f} s")
        with open_video(path, fast_colour=True) as reader:
            ours, _ = measure("facesmith (pyav), index included", reader.frames(indices), start, wall)
        start, wall = time.process_time(), time.perf_counter()
        with open_video(path, "decord") as reader:
            decord, _ = measure("facesmith (decord)", reader.frames(indices), start, wall)
        start, wall = time.process_time(), time.perf_counter()
        in_order, _ = measure("OpenCV, grab in order", opencv_in_order(path, indices), start, wall)
        start, wall = time.process_time(), time.perf_counter()
        seeking, _ = measure("OpenCV, seek each frame (sample)", opencv_seeking(path, sample), start, wall)
    print(
        f"ratio to OpenCV seeking: {seeking / ours:.1f}x   to OpenCV in order: {in_order / ours:.2f}x",
        end="   ",
    )
    print(f"to decord2: {decord / ours:.2f}x  (CPU a frame, more is better for facesmith)")


if __name__ == "__main__":
    main()
