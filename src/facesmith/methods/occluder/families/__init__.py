"""Families of synthetic occluders, by the names that `data.occlusions.families` gives weights to."""

from typing import Final

from facesmith.methods.occluder.families.drawing import Family
from facesmith.methods.occluder.families.objects import glasses, held, instrument, microphone, shape, sunglasses
from facesmith.methods.occluder.families.organic import cloth, foliage, food, hair, hand

FAMILIES: Final[dict[str, Family]] = {
    "hand": hand,
    "held": held,
    "food": food,
    "cloth": cloth,
    "hair": hair,
    "glasses": glasses,
    "sunglasses": sunglasses,
    "microphone": microphone,
    "shape": shape,
    "foliage": foliage,
    "instrument": instrument,
}
