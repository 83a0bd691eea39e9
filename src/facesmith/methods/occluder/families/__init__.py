"""Families of synthetic occluders, by their names in `data.occlusions.families`.

A family is a function of the face (position and size), the textures to use and a random number generator; it returns
the layer to draw over the face. See `Family`.
"""

from typing import Final

from facesmith.methods.occluder.families.drawing import Family
from facesmith.methods.occluder.families.objects import held, instrument, microphone, shape
from facesmith.methods.occluder.families.organic import cloth, foliage, food, hair, hand
from facesmith.methods.occluder.families.skin import head, limb
from facesmith.methods.occluder.families.spectacles import glasses, sunglasses

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
    "limb": limb,
    "head": head,
    "foliage": foliage,
    "instrument": instrument,
}
