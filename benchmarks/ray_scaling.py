"""Two Ray workers against one, each on one core: how much sooner a folder of films is swapped.

    python benchmarks/ray_scaling.py [--films 8] [--size 352x288] [--model ada.onnx] [--address local]

Each film is five seconds of the carphone man. Every worker is bound to one core, so that it has one thread's time, as
on a cluster; the second worker has the second core, so the machine needs two idle ones. Time runs from the first frame
that is reported to the last film that is finished: the start of Ray and of its workers, once a run, is printed beside
it. Prints the CPU time of a frame, all included, and the ratio of the times. Without --model an untrained mesh_warp of
the man is exported, which costs what a trained one does. A minute or two on two idle cores.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from facesmith.assets import fetch
from facesmith.cli.composition import load_config
from facesmith.cli.infer import set_up_process
from facesmith.config.schema import InferConfig
from facesmith.faces.face import Analyzer
from facesmith.files import partial_folder
from facesmith.media.sources import find_media
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.tasks.batch import Failure, Report
from facesmith.tasks.engine.ray import RayEngine
from facesmith.tasks.swap.config import SwapTaskConfig
from facesmith.tasks.swap.file_swap import FileSwapper, SwapJob
from video_swap import make_model

FPS = 30
SECONDS = 5


class Clock:
    """Notes when the first frames were reported."""

    def __init__(self) -> None:
        self.begun: float | None = None

    def tell(self, line: str) -> None:
        """Print a line."""
        print(line)

    def advance(self, path: Path, done: int, total: int) -> None:
        """Begin with the first film."""
        if self.begun is None:
            self.begun = time.perf_counter()


class TimedSwapper:
    """Swaps a film, and measures the CPU time of this process meanwhile."""

    def __init__(self, config: SwapTaskConfig, analyzer: Callable[[], Analyzer]) -> None:
        self.config, self._analyzer = config, analyzer
        self._swap = FileSwapper(config, analyzer=analyzer)

    def __reduce__(self) -> tuple[object, ...]:
        return TimedSwapper, (self.config, self._analyzer)

    def __call__(self, job: SwapJob, report: Report) -> tuple[float, int]:
        """Return CPU seconds and number of frames."""
        begun = time.process_time()
        frames = self._swap(job, report).frames
        return time.process_time() - begun, frames


def make_film(path: Path, size: tuple[int, int]) -> None:
    with open_video(fetch("carphone_pristine.mp4")) as reader, VideoWriter(path, fps=FPS, mark=None, crf=17) as writer:
        shown = [frame for _, frame in reader.frames(range(SECONDS * FPS // 2))]
        for frame in [*shown, *reversed(shown)]:
            writer.write(np.ascontiguousarray(cv2.resize(frame, size)))


def take_core(folder: Path, config: InferConfig) -> None:
    """Bind this worker to a core that no other one has."""
    for core in sorted(os.sched_getaffinity(0)):
        try:
            (folder / f"core{core}").open("x").close()
        except FileExistsError:
            continue
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})
        break
    set_up_process(config)


def run(workers: int, films: Path, model: Path, folder: Path, address: str) -> float:
    output = folder / f"swapped_{workers}"
    given = ["task=swap", f"task.model={model}", f"source={films}", f"output={output}", "task.workers=1"]
    config = load_config("infer", InferConfig, given)
    cores = folder / f"cores_{workers}"
    cores.mkdir()
    engine = RayEngine(
        address=address,
        workers=workers,
        num_cpus=1,
        num_gpus=0,
        retries=0,
        set_up=partial(take_core, cores, config),
    )
    jobs = [SwapJob(one, output / one.path.name, resume=False) for one in find_media(str(films))]
    assert not any(partial_folder(job.output).exists() for job in jobs)
    clock, start = Clock(), time.perf_counter()
    cpu = frames = 0.0
    for job, outcome in engine.run(jobs, TimedSwapper(config.task, config.analyzer.build), clock):
        if isinstance(outcome, Failure):
            raise SystemExit(f"{job.path}: {outcome.reason}")
        cpu, frames = cpu + outcome[0], frames + outcome[1]
        end = time.perf_counter()
    assert clock.begun is not None
    seconds = end - clock.begun
    print(
        f"{workers} workers: {seconds:.1f} s for {len(jobs)} films, after {clock.begun - start:.1f} s of starting; "
        f"{1000 * cpu / frames:.1f} CPU-ms a frame"
    )
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--films", type=int, default=8)
    parser.add_argument("--size", default="352x288")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--address", default="local")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = arguments.model or folder / "carphone.onnx"
        if arguments.model is None:
            make_model(model)
        films = folder / "films"
        films.mkdir()
        width, height = map(int, arguments.size.split("x"))
        make_film(films / "0.mp4", (width, height))
        for number in range(1, arguments.films):
            shutil.copyfile(films / "0.mp4", films / f"{number}.mp4")
        one, two = (run(workers, films, model, folder, arguments.address) for workers in (1, 2))
    print(f"two workers against one: {one / two:.2f}")


if __name__ == "__main__":
    main()
