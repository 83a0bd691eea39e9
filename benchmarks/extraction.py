"""Extraction against the plain way and against the analysis alone, on a generated 5-minute 720p video.

    python benchmarks/extraction.py [--frames 1000] [--minutes 5]      (a quick one: --frames 200 --minutes 1)

(a) ours: `extract`, everything included: decoding, crops, selection, contact sheet, writing.
(b) the plain way: cv2.VideoCapture, seek to each frame, analyse, write the crop, one after another.
(c) the analysis alone: the same models on the same frames already in memory, as many threads as cores.

The video shows the carphone man on a 1280x720 canvas, moving slowly, H.264 with B-frames. Prints times, the
ratios b/a and c/a, the peak memory for a short and for the long video, and what the second run costs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path

import av
import cv2
import numpy as np

from facesmith.assets import fetch
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.face_set.config import SelectionConfig, SmoothingConfig
from facesmith.faces.face_set.extraction import ExtractionSettings, extract
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry.alignment import estimate_alignment, warp_face
from facesmith.media.sampling import evenly_spaced
from facesmith.media.video import open_video
from video_loop import make_long_video

FPS = 30
LOOP = 20  # seconds; longer videos repeat the same packets: encoding five minutes takes ten
make_analyzer = partial(MediaPipeAnalyzer, detector_sizes=[640, 256], min_score=0.6)


def make_loop(path: Path) -> None:
    """Write a clip of LOOP seconds: the man in the car swings to and fro, and the ground with him."""
    with open_video(fetch("carphone_pristine.mp4")) as reader:
        faces = [cv2.resize(f, (704, 576), interpolation=cv2.INTER_LINEAR) for _, f in reader.frames(range(120))]
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 255, (90, 200, 3), np.uint8), (1600, 720), interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "fast", "crf": "21", "bf": "3"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for i in range(LOOP * FPS):
            shift = int(120 * (1 + np.sin(2 * np.pi * i / LOOP / FPS)))
            canvas = ground[:, shift : shift + 1280].copy()
            turn = i % 238
            canvas[72:648, 200 + shift : 904 + shift] = faces[turn if turn < 120 else 238 - turn]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(canvas, format="rgb24")))
        container.mux(stream.encode())


def ours(video: Path, root: Path, frames: int) -> FaceSet:
    settings = ExtractionSettings(
        name="benchmark",
        root=root,
        consent="public_domain",
        consent_note="",
        analyzer=make_analyzer,
        backend="pyav",
        max_frames=frames,
        people="one",
        selection=SelectionConfig(
            min_score=0.5, min_size=32, min_sharpness=0, max_yaw=60, max_pitch=40, min_similarity=0.4
        ),
        smoothing=SmoothingConfig(window_seconds=0.25, polyorder=2),
        progress=False,
    )
    return extract(video, settings)


def plain(video: Path, folder: Path, frames: int) -> None:
    folder.mkdir()
    analyzer = make_analyzer()
    capture = cv2.VideoCapture(str(video))
    for i in evenly_spaced(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), frames):
        capture.set(cv2.CAP_PROP_POS_FRAMES, i)
        frame = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
        for number, face in enumerate(analyzer(frame)):
            crop = warp_face(frame, estimate_alignment(face.keypoints, "ffhq_512", 512), 512)
            bgr = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(folder / f"{i}_{number}.jpg"), bgr, (cv2.IMWRITE_JPEG_QUALITY, 95))
    analyzer.close()


def chunks(video: Path, frames: int, size: int = 250) -> Iterator[list[np.ndarray]]:
    """Frames in portions that fit into memory."""
    with open_video(video) as reader:
        wanted = evenly_spaced(len(reader), frames)
        for begin in range(0, len(wanted), size):
            yield [frame for _, frame in reader.frames(wanted[begin : begin + size])]


def analysis_only(video: Path, frames: int) -> tuple[float, float]:
    """Wall and CPU seconds that the analysis takes, without reading the frames."""
    crew = os.cpu_count() or 1
    analyzers = [make_analyzer() for _ in range(crew)]
    wall = cpu = 0.0
    for pictures in chunks(video, frames):
        following, lock = count(), threading.Lock()

        def work(
            analyzer: MediaPipeAnalyzer,
            pictures: list[np.ndarray] = pictures,
            following: Iterator[int] = following,
            lock: threading.Lock = lock,
        ) -> None:
            while True:
                with lock:
                    i = next(following)
                if i >= len(pictures):
                    return
                analyzer(pictures[i])

        with ThreadPoolExecutor(crew) as pool:
            spent = timed(lambda work=work, pool=pool: list(pool.map(work, analyzers)))
        wall, cpu = wall + spent[0], cpu + spent[1]
    for analyzer in analyzers:
        analyzer.close()
    return wall, cpu


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds and CPU seconds of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def say(what: str, wall: float, cpu: float) -> None:
    print(f"{what:40s} {wall:8.1f} s wall {cpu:8.1f} s CPU", flush=True)


def peak_memory(video: Path, root: Path, frames: int) -> float:
    """Peak MB of a process that does nothing but extract."""
    command = [sys.executable, __file__, "--only-extract", str(video), str(root), "--frames", str(frames)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def only_extract(video: Path, root: Path, frames: int) -> None:
    import resource

    ours(video, root, frames)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--minutes", type=int, default=5)
    parser.add_argument("--videos", type=Path, help="keep the generated videos in this folder")
    parser.add_argument("--only-extract", nargs=2, type=Path, metavar=("VIDEO", "ROOT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    frames: int = arguments.frames
    if arguments.only_extract:
        only_extract(*arguments.only_extract, frames)
        return
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        videos: Path = arguments.videos or scratch
        videos.mkdir(parents=True, exist_ok=True)
        video, short = videos / f"{arguments.minutes}min.mp4", videos / "1min.mp4"
        for path, minutes in ((video, arguments.minutes), (short, 1)):
            if not path.exists():
                make_long_video(path, 60 * minutes, LOOP, make_loop)
        make_analyzer().close()
        print(f"{frames} frames of {arguments.minutes} min 720p, {os.cpu_count()} cores")
        a, a_cpu = timed(lambda: ours(video, scratch / "sets", frames))
        say("(a) ours", a, a_cpu)
        again, _ = timed(lambda: ours(video, scratch / "sets", frames))
        print(f"second run {again:.2f} s (wanted < 2)", flush=True)
        c, c_cpu = analysis_only(video, frames)
        say("(c) analysis alone, frames in memory", c, c_cpu)
        print(f"c/a {c / a:.2f} of wall time (wanted >= .85), {c_cpu / a_cpu:.2f} of CPU time", flush=True)
        b, b_cpu = timed(lambda: plain(video, scratch / "plain", frames))
        say("(b) seek each frame, one by one", b, b_cpu)
        print(f"b/a {b / a:.2f} of wall time (wanted >= 3), {b_cpu / a_cpu:.2f} of CPU time", flush=True)
        memory = [peak_memory(path, scratch / path.stem, frames) for path in (short, video)]
        print(f"peak memory: 1 min {memory[0]:.0f} MB, {arguments.minutes} min {memory[1]:.0f} MB")


if __name__ == "__main__":
    main()
