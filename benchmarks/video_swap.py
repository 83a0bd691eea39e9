"""Video swap against the plain loop and against each of its stages alone, on a generated 720p video.

    python benchmarks/video_swap.py [--seconds 20] [--model ada.onnx]

(a) ours: `infer.py task=swap` in process, everything included: reading, tracking, smoothing, segments, joining,
    signing.
(b) the plain loop: read a frame as RGB, analyse it, swap, write it, one after the other: same reader, models, settings
    of the encoder, which has its own threads in both.
(c) each stage alone, as ours runs it, its frames already in memory: reading, analysis, swapping, encoding.
(d) the most that the cores can do: the CPU seconds of (c) shared out evenly, nothing lost.
(e) each stage where every frame becomes RGB of 8 bits, as it was before frames kept their planes.

The video shows the carphone man at 880x720 on a blurred ground of himself, 1280x720, as phone videos are shown.
Without --model an untrained mesh_warp of the man is exported, which costs what a trained one does. Prints wall and
CPU time, the ratios, and the peak memory of a process that does nothing but swap, for the video and one ten times
as long. Wall times mean something on an otherwise idle machine only; the ratios of CPU time always do.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np

from facesmith.assets import fetch
from facesmith.cli.composition import load_config
from facesmith.cli.infer import infer
from facesmith.config.schema import InferConfig
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.face import Face
from facesmith.faces.face_set.config import SmoothingConfig
from facesmith.faces.tracking.propagation import detect_faces, propagate_faces
from facesmith.faces.tracking.stream import DetectedFrame, StreamTracker, TrackedFrame
from facesmith.faces.tracking.tracker import make_thumbnail
from facesmith.media.planes import PlaneFrame
from facesmith.media.provenance import Mark
from facesmith.media.video import open_video, read_planes
from facesmith.media.video_writer import VideoWriter
from facesmith.tasks.swap.analysis import AnalyzerPool, Frame, analyze_frames
from facesmith.tasks.swap.canvas import PlaneCanvas
from facesmith.tasks.swap.frame_swap import FrameSwapper, load_frame_swapper
from facesmith.tasks.swap.video_processing import map_in_order
from facesmith.training.run.log import silence_libraries
from video_loop import make_long_video

FPS = 30
LOOP = 10  # seconds; longer videos repeat the same packets: encoding takes as long as swapping
MARK = Mark(identity="nobody", consent="synthetic", model_hash=None, title="benchmark")
make_analyzer = partial(MediaPipeAnalyzer, detector_sizes=[640, 256], min_score=0.7)


def make_loop(path: Path) -> None:
    with open_video(fetch("carphone_pristine.mp4")) as reader:
        small = [frame for _, frame in reader.frames(range(120))]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "fast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for i in range(LOOP * FPS):
            turn = i % 238
            frame = small[turn if turn < 120 else 238 - turn]
            canvas = cv2.resize(cv2.GaussianBlur(frame, (0, 0), 12), (1280, 720), interpolation=cv2.INTER_CUBIC)
            canvas[:, 200:1080] = cv2.resize(frame, (880, 720), interpolation=cv2.INTER_CUBIC)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(canvas, format="rgb24")))
        container.mux(stream.encode())


def settings(model: Path, video: Path, output: Path) -> InferConfig:
    """Return the settings of a swap as a user has them who changes nothing."""
    overrides = ["task=swap", f"task.model={model}", f"source={video}", f"output={output}"]
    overrides += ["task.masks=[box]", "task.occluder=null"]
    return load_config("infer", InferConfig, overrides)


def plain(video: Path, output: Path, swap: FrameSwapper, preset: str) -> None:
    analyzer = make_analyzer()
    with open_video(video) as reader, VideoWriter(output, video, mark=MARK, preset=preset) as writer:
        for _, frame in reader.frames(range(len(reader))):
            writer.write(swap.swap(frame, analyzer(frame)[:1]))
    analyzer.close()


def stages(
    video: Path, output: Path, swap: FrameSwapper, preset: str, frames: int, workers: int
) -> dict[str, tuple[float, float]]:
    """Wall and CPU seconds of each stage alone, for so many frames."""
    pictures: list[Frame] = []

    def read() -> None:
        with open_video(video) as reader:
            pictures.extend(read_planes(reader, range(frames)))

    spent = {"reading": timed(read)}
    times = np.arange(frames) / FPS
    analyzers = AnalyzerPool(make_analyzer)
    with analyzers.borrow():
        analyzers.borrow().__enter__()  # both are made before the clock runs

    tracked: list[TrackedFrame[Frame]] = []

    def analyse() -> None:
        seen = analyze_frames(pictures, times, analyzers, every=8, embed=False, workers=workers)
        tracked.extend(
            StreamTracker[Frame](smoothing=SmoothingConfig(window_seconds=0.25, polyorder=2), max_gap=0.4)(seen)
        )

    spent["analysis"] = timed(analyse)
    swapped: list[PlaneFrame] = []

    def swapping() -> None:
        def one(item: tuple[PlaneFrame, list[Face]]) -> PlaneFrame:
            frame, faces = item
            swap.swap_in_place([(PlaneCanvas(frame), faces)])
            return frame

        with ThreadPoolExecutor(workers) as pool:
            work = ((each.item[1], list(each.faces.values())[:1]) for each in tracked)
            swapped.extend(map_in_order(pool, one, work, 2 * workers))

    spent["swapping"] = timed(swapping)

    def encode() -> None:
        with VideoWriter(output, fps=FPS, mark=MARK, preset=preset) as writer:
            for picture in swapped:
                writer.write(picture)

    spent["encoding"] = timed(encode)
    return spent


def stages_of_rgb(video: Path, output: Path, swap: FrameSwapper, preset: str, frames: int) -> dict[str, float]:
    """CPU seconds of each stage alone where every frame becomes RGB of 8 bits, for so many frames."""
    pictures: list[np.ndarray] = []

    def read() -> None:
        with open_video(video) as reader:
            pictures.extend(rgb for _, rgb in reader.frames(range(frames)))

    spent = {"reading": timed(read)[1]}
    analyzer = make_analyzer()
    found: list[list[Face]] = []

    def detected() -> Iterator[DetectedFrame[int]]:
        for start in range(0, frames, 8):
            run = pictures[start : start + 8]
            faces = propagate_faces(analyzer, run, detect_faces(analyzer, run[0], embed=False), None, embed=False)
            for at, (rgb, seen) in enumerate(zip(run, faces, strict=True), start):
                yield DetectedFrame(at, at / FPS, make_thumbnail(rgb), seen)

    def analyse() -> None:
        tracker = StreamTracker[int](smoothing=SmoothingConfig(window_seconds=0.25, polyorder=2), max_gap=0.4)
        found.extend(list(each.faces.values()) for each in tracker(detected()))

    spent["analysis"] = timed(analyse)[1]
    analyzer.close()
    swapped: list[np.ndarray] = []
    work = list(zip(pictures, found, strict=True))
    spent["swapping"] = timed(lambda: swapped.extend(swap.swap(rgb, faces[:1]) for rgb, faces in work))[1]

    def encode() -> None:
        with VideoWriter(output, fps=FPS, mark=MARK, preset=preset) as writer:
            for picture in swapped:
                writer.write(picture)

    spent["encoding"] = timed(encode)[1]
    return spent


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds and CPU seconds of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def say(what: str, spent: tuple[float, float], frames: int) -> None:
    wall, cpu = spent
    print(f"{what:34s} {frames / wall:7.1f} frames/s {1000 * cpu / frames:7.1f} CPU-ms a frame", flush=True)


def peak_memory(model: Path, video: Path) -> float:
    """Peak MB of a process that does nothing but swap."""
    command = [sys.executable, __file__, "--only-swap", str(video), "--model", str(model)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def only_swap(model: Path, video: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        infer(settings(model, video, Path(folder, "swapped.mp4")))
    print(own_peak())


def own_peak() -> float:
    """Return this process's peak MB. Linux counts its parent's into `ru_maxrss`."""
    status = Path("/proc/self/status")
    if status.exists():
        return float(status.read_text().partition("VmHWM:")[2].split()[0]) / 1e3
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def make_model(path: Path) -> None:
    """Export a mesh_warp of the carphone man in a process of its own: torch takes memory."""
    code = (
        "import sys; from pathlib import Path; import swap_speed as s;"
        "s.write(s.mesh_warp(256), Path(sys.argv[1]), 'man')"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, cwd=Path(__file__).parent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20, help="a multiple of 10")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--videos", type=Path, help="keep the generated videos in this folder")
    parser.add_argument("--without-memory", action="store_true", help="leave the video ten times as long out")
    parser.add_argument("--only-swap", type=Path, metavar="VIDEO", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    silence_libraries()
    if arguments.only_swap:
        only_swap(arguments.model, arguments.only_swap)
        return
    cores = os.cpu_count() or 1
    workers = min(cores, 4)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        videos: Path = arguments.videos or scratch
        videos.mkdir(parents=True, exist_ok=True)
        video, longer = (videos / f"{seconds}s.mp4" for seconds in (arguments.seconds, 10 * arguments.seconds))
        make_long_video(video, arguments.seconds, LOOP, make_loop)
        model: Path = arguments.model or scratch / "man.onnx"
        if arguments.model is None:
            make_model(model)
        frames = arguments.seconds * FPS
        config = settings(model, video, scratch / "ours.mp4")
        preset = config.task.preset
        swap = load_frame_swapper(model, config.task, analyzer=make_analyzer, profile=None)
        print(f"{frames} frames of 720p, {cores} cores", flush=True)
        make_analyzer().close()
        a = timed(lambda: infer(config))
        say("(a) ours", a, frames)
        b = timed(lambda: plain(video, scratch / "plain.mp4", swap, preset))
        say("(b) plain loop", b, frames)
        some = min(frames, 150)
        alone = stages(video, scratch / "stages.mp4", swap, preset, some, workers)
        for name, spent in alone.items():
            say(f"(c) {name} alone", spent, some)
        through_rgb = stages_of_rgb(video, scratch / "rgb.mp4", swap, preset, some)
        ours_ms = {name: 1000 * cpu / some for name, (_, cpu) in alone.items()}
        rgb_ms = {name: 1000 * cpu / some for name, cpu in through_rgb.items()}
        for parts in (*([name] for name in alone), ["reading", "analysis", "swapping"]):
            a_ms, b_ms = (sum(each[name] for name in parts) for each in (ours_ms, rgb_ms))
            print(f"(e) {'+'.join(parts):26s} {a_ms:6.1f} CPU-ms a frame, through RGB {b_ms:6.1f}: {b_ms / a_ms:.2f}x")
        slowest = min(alone, key=lambda name: some / alone[name][0])
        rate, best = frames / a[0], some / alone[slowest][0]
        ideal = cores * some / sum(cpu for _, cpu in alone.values())
        print(f"(d) all cores busy with (c)            {ideal:7.1f} frames/s")
        print(f"ours / plain loop          {b[0] / a[0]:.2f} of wall time (wanted >= 2), {b[1] / a[1]:.2f} of CPU time")
        print(f"ours / slowest stage alone {rate / best:.2f} ({slowest}; wanted >= .85)")
        print(f"ours / most the cores can  {rate / ideal:.2f}", flush=True)
        if not arguments.without_memory:
            make_long_video(longer, 10 * arguments.seconds, LOOP, make_loop)
            memory = [peak_memory(model, path) for path in (video, longer)]
            more = 100 * (memory[1] / memory[0] - 1)
            print(f"peak memory {memory[0]:.0f} MB, ten times as long {memory[1]:.0f} MB: {more:+.1f} % (wanted <= 5)")


if __name__ == "__main__":
    main()
