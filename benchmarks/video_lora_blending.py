"""Can two people be blended? Pairs of the toy world, taught to one mapper and one LoRA, on a base that knows neither.

python benchmarks/video_lora_blending.py output=<folder> [pairs=0+1,0+2] [key=value of the demo experiment ...]

Trains every pair with `data.people=[a,b]`, draws 12 dances nobody trained on for each person's profile, their blend and
what is interpolated between them, and prints where the faces lie: 0 at the first person, 1 at the second; and how many
of ten other people are more like a blended face than the two are. Every pair leaves record and picture in the folder.

The pairs are all of the five people of video_lora_faces.py between whom the true middle face is more like both than
like any of the ten; between people who are opposites it is like neither.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
from facesmith.faces.profiles.combining import blend_profiles, interpolate_profiles
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.files import write_text
from facesmith.methods.video_lora.identities import write_profiles
from facesmith.methods.video_lora.toy_wan.data import demo_person
from facesmith.methods.video_lora.toy_wan.world import sample_clips
from facesmith.training.run.log import silence_libraries
from video_lora_faces import (
    DANCES,
    STAGE,
    Trial,
    distractors,
    fields,
    heads,
    read_record,
    settings,
    sheet,
    split,
    trained,
    truth_of,
)

TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)


def place(head: Tensor, first: Tensor, second: Tensor) -> float:
    """Say where a face lies on the line from one person, 0, to another, 1."""
    way = second - first
    return float((head - first) @ way / way.square().sum())


def better(head: Tensor, first: Tensor, second: Tensor, others: Tensor) -> int:
    """Count the others that are more like a face than the less alike of the two."""
    two = torch.stack([first, second])
    own = functional.cosine_similarity(head[None], two).min()
    return int((functional.cosine_similarity(head[None], others) > own).sum())


def one_pair(output: Path, pair: tuple[int, int], overrides: list[str]) -> dict[str, Any]:
    """Train, draw, judge; leave record and picture."""
    name = f"people_{pair[0]}_{pair[1]}"
    record = output / f"{name}.json"
    if (known := read_record(record, overrides)) is not None:
        return known
    names = [f"dancer_{number:03d}" for number in pair]
    held = ",".join(f"{one}_dance_{dance:03d}" for one in names for dance in (12, 13))
    run = [f"data.people=[{pair[0]},{pair[1]}]", f"data.holdout=[{held}]", "data.progress=false"]
    begun = time.process_time()
    data, module = trained(settings(output / "run", [*run, f"paths.face_sets={output / 'sets'}", *overrides]))
    seconds = time.process_time() - begun
    write_profiles(output / name, module.provenance)
    one, two = (IdentityProfile.load(output / name / f"{own}.json") for own in names)
    trial = Trial(data, module, sample_clips(DANCES, torch.Generator().manual_seed(STAGE)))
    first, second = fields(torch.stack([demo_person(number) for number in pair]))
    others = distractors()
    wanted = {f"t {time:g}": interpolate_profiles(one, two, time, "between") for time in TIMES}
    wanted["blend"] = blend_profiles([one, two], [1, 1], "both")
    rows, cells = [trial.poses, truth_of(demo_person(pair[0])), truth_of(demo_person(pair[1]))], {}
    for key, profile in wanted.items():
        face = torch.tensor(profile.embedding_mean)
        videos = trial.videos(trial.of_the_person(1.0, 1.0, face))
        found, _ = heads(videos, trial.poses)
        cells[key] = {
            "place": float(np.mean([place(head, first, second) for head in found])),
            "others_above": float(np.mean([better(head, first, second, others) for head in found])),
            "dances_with_none_above": sum(better(head, first, second, others) == 0 for head in found),
            "others_above_the_mean_face": better(torch.stack(found).mean(0), first, second, others),
        }
        if key != "blend":
            rows.append(videos)
    sheet(rows, output / f"{name}.png")
    between = fields((demo_person(pair[0]) + demo_person(pair[1]))[None] / 2)[0]
    found = {
        "overrides": overrides,
        "base": module.base.fingerprint,
        "cpu_seconds_of_training": round(seconds, 1),
        "cosine_of_the_two": float(functional.cosine_similarity(first, second, dim=0)),
        "others_above_the_true_middle": better(between, first, second, others),
        "cells": cells,
    }
    write_text(record, json.dumps(found, indent=1) + "\n")
    return found


def main(arguments: list[str]) -> None:
    """Read key=value arguments: output, pairs, and those of the experiment."""
    given, overrides = split(arguments, {"output": "", "pairs": "0+1,0+2,0+4,1+4,2+4"})
    silence_libraries()
    for text in given["pairs"].split(","):
        first, second = map(int, text.split("+"))
        found = one_pair(Path(given["output"]), (first, second), overrides)
        places = [found["cells"][f"t {time:g}"]["place"] for time in TIMES]
        both = found["cells"]["blend"]
        print(
            f"{text} (cosine {found['cosine_of_the_two']:+.2f}): places at t={TIMES}: "
            f"{' '.join(f'{one:.3f}' for one in places)}, {'rising' if places == sorted(places) else 'NOT rising'}; "
            f"blend at {both['place']:.3f}, others above the two: {both['others_above']:.2f} of 10 a dance, "
            f"{both['others_above_the_mean_face']} in the mean face, {found['others_above_the_true_middle']} with the "
            f"true middle; trained in {found['cpu_seconds_of_training']:.0f} CPU s",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
