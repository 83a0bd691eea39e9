"""Pictures of pairs for the page, read again from their files."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry.alignment import warp_face
from facesmith.media.provenance import Mark
from facesmith.media.verification import verify_provenance
from facesmith.media.video import open_video
from facesmith.metrics.person import COMPARED_AT
from facesmith.tasks.evaluate.measuring import PairResult, Place, read_picture_pair
from facesmith.tasks.evaluate.pairs import Pair
from facesmith.tasks.evaluate.people import People
from facesmith.tasks.evaluate.report import ShownPair
from facesmith.tasks.validate.frames import Backend

Pixels = NDArray[np.uint8]


def cut_faces(
    pair: Pair, result: PairResult, backend: Backend, count: int | None = None
) -> Iterator[tuple[Place, Pixels, Pixels]]:
    """Yield faces of a pair on `arcface_128`: where, and the crops of swap and target, (S,S,3) RGB.

    Args:
        pair: The files.
        result: Knows where the faces are.
        backend: What decodes videos.
        count: How many at most; None: all that are known.
    """
    places = result.places[:count]
    if pair.swap.kind == "image":
        for place in places:
            frames = read_picture_pair(pair)
            assert frames.target is not None
            yield place, _cut(frames.picture, place), _cut(frames.target, place)
        return
    frames_of = [place.frame for place in places]
    with open_video(pair.swap.path, backend) as swaps, open_video(pair.target.path, backend) as targets:
        both = zip(swaps.frames(frames_of), targets.frames(frames_of), strict=False)
        for place, ((_, picture), (_, target)) in zip(places, both, strict=False):
            yield place, _cut(picture, place), _cut(target, place)


def show_pairs(chosen: Sequence[tuple[Pair, PairResult]], people: People, backend: Backend) -> list[ShownPair]:
    """Return pairs with their pictures.

    Args:
        chosen: Pairs and what was measured of them.
        people: Who was put on.
        backend: What decodes videos.
    """
    shown = []
    for pair, result in chosen:
        person = people.sources[result.person]
        source = person.picture(len(person.pictures) // 2) if person.pictures else None
        mark = verify_provenance(pair.swap.path).mark or Mark(
            identity=result.person, consent="not stated", model_hash=None, title=f"face of {pair.swap.path.name}"
        )
        for _, swap, target in cut_faces(pair, result, backend, 1):
            shown.append(ShownPair(result, swap, target, source, mark))
    return shown


def _cut(picture: Pixels, place: Place) -> Pixels:
    return warp_face(picture, np.array(place.matrix), COMPARED_AT)
