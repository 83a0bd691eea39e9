"""What the mark costs: python benchmarks/marking.py.

The job it is held against is the cheapest there is: a minute of 720p video, encoded and not even swapped. Signing
reads the finished file, hashes it and writes it once more; CPU time and elapsed time of both are measured in one run.
Pictures likewise: a 720p JPEG with and without its mark.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from facesmith.assets import fetch
from facesmith.media.images import write_image
from facesmith.media.provenance import Mark, sign_file
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter

WIDTH, HEIGHT, FPS = 1280, 720, 25
MARK = Mark(identity="nobody", consent="synthetic", model_hash="0" * 64, title="benchmark")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with open_video(fetch("bigbuckbunny.mp4")) as reader:
        assert (reader.width, reader.height) == (WIDTH, HEIGHT)
        frames = [frame for _, frame in reader.frames(range(0, len(reader)))]

    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder, "film.mp4")

        def encode() -> None:
            with VideoWriter(film, mark=None, fps=FPS) as writer:
                for number in range(arguments.seconds * FPS):
                    # there and back again, so that no cut costs the encoder anything
                    place = number % (2 * len(frames) - 2)
                    writer.write(frames[min(place, 2 * len(frames) - 2 - place)])

        job = timed(encode)
        unsigned = film.read_bytes()
        costs = []
        for _ in range(arguments.runs):
            film.write_bytes(unsigned)
            costs.append(timed(lambda: sign_file(film, MARK)))
        cpu, wall = (statistics.median(cost[i] for cost in costs) for i in (0, 1))
        print(f"{arguments.seconds} s of {WIDTH}x{HEIGHT}: {len(unsigned) / 1e6:.1f} MB")
        print(f"encoding  CPU {job[0]:8.3f} s   elapsed {job[1]:8.3f} s")
        print(f"signing   CPU {cpu:8.3f} s   elapsed {wall:8.3f} s")
        print(
            f"marking costs {cpu / job[0]:.2%} of the CPU time, {wall / job[1]:.2%} of the elapsed time (allowed 3 %)"
        )

        picture = np.ascontiguousarray(frames[0])
        plain, marked = (
            statistics.median(
                timed(lambda mark=mark: write_image(Path(folder, "a.jpg"), picture, mark=mark))[0] for _ in range(20)
            )
            for mark in (None, MARK)
        )
        print(f"a picture: {1000 * plain:.1f} ms CPU unmarked, {1000 * (marked - plain):.1f} ms for its mark")


if __name__ == "__main__":
    main()
