"""The dose of a LoRA that needs no face tokens: python benchmarks/video_lora_words.py output=<folder> [key=value ...].

Further arguments as of video_lora_faces.py: people=3, first=0, dances=12, and those of the demo experiment. Trains each
person of the toy world with `model.gate_tokens=false data.trigger=woman`, draws dances nobody trained on at several
scales of the LoRA, with the trigger in the prompt and without, and prints the projection on the person (0 the mean
person, 1 the person), and how far bodies overlap the true dance. This is all that other programs have of a person: the
LoRA and the words.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facesmith.files import write_text
from facesmith.methods.video_lora.lora import set_lora_scale
from facesmith.methods.video_lora.toy_wan.data import demo_person
from facesmith.methods.video_lora.toy_wan.world import sample_clips
from facesmith.training.run.log import silence_libraries
from video_lora_faces import (
    STAGE,
    Trial,
    distractors,
    fields,
    figures,
    read_record,
    settings,
    sheet,
    split,
    trained,
    truth_of,
)

LORA_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
TRIGGER = "woman"
GATE = ["model.gate_tokens=false", f"data.trigger={TRIGGER}"]
WORDS = {"with the trigger": f"{TRIGGER}, ", "without": ""}


def one_trial(output: Path, number: int, overrides: list[str], dances: int) -> dict[str, Any]:
    """Train, draw, judge; leave record and picture."""
    record = output / f"person_{number}.json"
    if (known := read_record(record, overrides)) is not None:
        return known
    run = [f"data.people=[{number}]", f"paths.face_sets={output / 'sets'}", "data.progress=false"]
    begun = time.process_time()
    data, module = trained(settings(output / "run", [*run, *GATE, *overrides]))
    seconds = time.process_time() - begun
    some, truth = sample_clips(dances, torch.Generator().manual_seed(STAGE)), truth_of(demo_person(number), dances)
    target, others = fields(demo_person(number)[None])[0], distractors()
    rows, cells = [], {}
    for words, prefix in WORDS.items():
        trial = Trial(data, module, some, prefix)
        for scale in LORA_SCALES:
            set_lora_scale(module.transformer, scale)
            videos = trial.videos(trial.of_the_words(module.transformer))
            cells[f"{words} {scale:g}"] = figures(videos, truth, trial.poses, target, others)
            rows.append(videos)
    sheet([trial.poses, truth, *rows], output / f"person_{number}.png")
    found = {"overrides": overrides, "cpu_seconds_of_training": round(seconds, 1), "cells": cells}
    write_text(record, json.dumps(found, indent=1) + "\n")
    return found


def table(trials: list[dict[str, Any]], figure: str) -> list[str]:
    """Return the lines of a table of means over trials."""
    lines = [f"| {figure} \\ lora_scale | " + " | ".join(f"{scale:g}" for scale in LORA_SCALES) + " |"]
    lines.append("|---" * (len(LORA_SCALES) + 1) + "|")
    for words in WORDS:
        means = [np.mean([trial["cells"][f"{words} {scale:g}"][figure] for trial in trials]) for scale in LORA_SCALES]
        lines.append(f"| {words} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    return lines


def main(arguments: list[str]) -> None:
    """Read key=value arguments: output, people, first, dances, and those of the experiment."""
    given, overrides = split(arguments, {"people": "3", "first": "0", "dances": "12", "output": ""})
    silence_libraries()
    trials = []
    for number in range(int(given["first"]), int(given["first"]) + int(given["people"])):
        trials.append(one_trial(Path(given["output"]), number, overrides, int(given["dances"])))
        doses = [trials[-1]["cells"][f"with the trigger {scale:g}"] for scale in LORA_SCALES]
        print(f"person {number}:", " ".join(f"{dose['projection']:.3f}" for dose in doses), flush=True)
        print(f"  worst rank at 1: {doses[LORA_SCALES.index(1)]['worst_rank']:.0f} of 11", flush=True)
    for figure in ("projection", "iou"):
        print("\n" + "\n".join(table(trials, figure)))


if __name__ == "__main__":
    main(sys.argv[1:])
