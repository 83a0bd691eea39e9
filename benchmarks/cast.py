"""Two people swapped in one pass against one of them, on a generated 720p video that shows two.

    python benchmarks/cast.py [--seconds 10] [--repeats 3] [--masks box] [--model ada.onnx]

The video shows the men of `single_face` and of carphone side by side. Both runs are `infer.py task=swap` in process,
everything included: reading, tracking, recognising, swapping, writing, signing. One run has a cast of one (the man on
the left), the other of two; the runs take turns. Without --model an untrained mesh_warp is exported, which costs what
a trained one does; both entries show it. Prints wall and CPU time of each run and the ratio of the medians. Wall times
mean something on an otherwise idle machine only.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.assets import fetch
from facesmith.cli.composition import load_config
from facesmith.cli.infer import infer
from facesmith.config.schema import InferConfig
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.training.run.log import silence_libraries
from video_swap import FPS, make_model, say, timed

HALF, HEIGHT = 640, 720


def make_video(path: Path, seconds: int) -> None:
    """Write the two men side by side, their films played to and fro."""
    films = [halves(name) for name in ("single_face.mp4", "carphone_pristine.mp4")]
    with VideoWriter(path, fps=FPS, mark=None, crf=18) as writer:
        for i in range(seconds * FPS):
            writer.write(np.concatenate([film[to_and_fro(i, len(film))] for film in films], 1))


def halves(name: str) -> list[NDArray[np.uint8]]:
    """Read a film and scale its frames to half of the video, cut to its shape around the centre."""
    with open_video(fetch(name)) as reader:
        frames = [frame for _, frame in reader.frames(range(min(len(reader), 72)))]
    height, width = frames[0].shape[:2]
    side = min(width, round(height * HALF / HEIGHT))
    left = (width - side) // 2
    return [cv2.resize(frame[:, left : left + side], (HALF, HEIGHT), interpolation=cv2.INTER_CUBIC) for frame in frames]


def to_and_fro(i: int, count: int) -> int:
    turn = i % (2 * count - 2)
    return turn if turn < count else 2 * count - 2 - turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--masks", default="box", help="as task.masks, with commas: box,occlusion is the default there")
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    silence_libraries()
    frames = arguments.seconds * FPS
    with tempfile.TemporaryDirectory() as temporary:
        video, model = Path(temporary, "two.mp4"), arguments.model or Path(temporary, "man.onnx")
        make_video(video, arguments.seconds)
        if arguments.model is None:
            make_model(model)
        spent: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        for repeat in range(arguments.repeats):
            for people, times in spent.items():
                cast = ", ".join(f"{{model: {model}, target: {place}}}" for place in range(people))
                output = Path(temporary, f"{people}_{repeat}.mp4")
                words = ["task=swap", f"task.cast=[{cast}]", f"source={video}", f"output={output}"]
                config = load_config("infer", InferConfig, [*words, f"task.masks=[{arguments.masks}]"])
                times.append(timed(lambda config=config: infer(config)))
                say(f"{people} of 2 people", times[-1], frames)
        for name, part in (("wall", 0), ("CPU", 1)):
            one, two = (median(run[part] for run in spent[people]) for people in (1, 2))
            print(f"two people / one, {name} time: {two / one:.2f} (wanted <= 1.35)")


if __name__ == "__main__":
    main()
