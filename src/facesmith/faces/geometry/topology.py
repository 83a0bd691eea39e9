"""Meaning of the 478 face landmarks, and of landmarks and blendshapes under mirroring.

Indices follow MediaPipe's face mesh: 0..467 the mesh, 468..477 the irises. "Left" and "right" here are as
seen in the picture; blendshape names use the person's own left and right.
Source: the canonical face model inside `face_landmarker.task`, whose vertices are exactly symmetric.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

LANDMARKS: Final = 478
MESH: Final = 468

REGIONS: Final = ("eyes", "nose", "mouth", "cheeks", "forehead")
"""Regions of a face that can be covered, in the order of all arrays over them: eyes with brows, mouth with chin."""

# the ring of an eye: its corner first, then once around
LEFT_EYE: Final = [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246]
RIGHT_EYE: Final = [362, 382, 381, 380, 374, 373, 390, 249, 263, 466, 388, 387, 386, 385, 384, 398]
LEFT_IRIS: Final = [468, 469, 470, 471, 472]  # the pupil first
RIGHT_IRIS: Final = [473, 474, 475, 476, 477]
LEFT_BROW: Final = [70, 63, 105, 66, 107, 55, 65, 52, 53, 46]
RIGHT_BROW: Final = [336, 296, 334, 293, 300, 276, 283, 282, 295, 285]
LIPS_OUTER: Final = [
    61,
    146,
    91,
    181,
    84,
    17,
    314,
    405,
    321,
    375,
    291,
    409,
    270,
    269,
    267,
    0,
    37,
    39,
    40,
    185,
]
LIPS_INNER: Final = [
    78,
    95,
    88,
    178,
    87,
    14,
    317,
    402,
    318,
    324,
    308,
    415,
    310,
    311,
    312,
    13,
    82,
    81,
    80,
    191,
]
GLABELLA: Final = [107, 336, 9, 8, 168, 55, 285, 151]  # the skin between the brows
NOSE: Final = [1, 2, 4, 5, 6, 19, 48, 64, 94, 97, 98, 129, 168, 195, 197, 278, 294, 326, 327, 358]
OVAL: Final = [
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
]
CHIN: Final = [377, 152, 148]  # of OVAL
EYES: Final = LEFT_EYE + RIGHT_EYE
BROWS: Final = LEFT_BROW + RIGHT_BROW
MOUTH: Final = LIPS_OUTER + LIPS_INNER
IRISES: Final = LEFT_IRIS + RIGHT_IRIS
LEFT_EYE_OUTER, RIGHT_EYE_OUTER = 33, 263  # the corners between which the eye distance is measured

# Points on the mirror plane. The mesh numbers all other points of the picture's left half in ascending
# order below 248, and their mirror images in the same order from 248 on.
MIDLINE: Final = [
    *(0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19),
    *(94, 151, 152, 164, 168, 175, 195, 197, 199, 200),
]
_FIRST_MIRRORED: Final = 248
# an iris is pupil, then four points once around; the mirror exchanges the horizontal two
_IRIS_MIRROR: Final = [473, 476, 475, 474, 477, 468, 471, 470, 469, 472]


def _landmark_mirror() -> NDArray[np.intp]:
    mirror = np.arange(LANDMARKS)
    left = np.setdiff1d(np.arange(_FIRST_MIRRORED), MIDLINE)
    right = np.arange(_FIRST_MIRRORED, MESH)
    mirror[left], mirror[right] = right, left
    mirror[MESH:] = _IRIS_MIRROR
    return mirror


# points_of_mirrored_picture[i] lies where the mirror image of points[LANDMARK_MIRROR[i]] lies
LANDMARK_MIRROR: Final = _landmark_mirror()

BLENDSHAPES: Final[tuple[str, ...]] = (
    "_neutral",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "eyeSquintLeft",
    "eyeSquintRight",
    "eyeWideLeft",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthFunnel",
    "mouthLeft",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "noseSneerLeft",
    "noseSneerRight",
)
"""Names of the 52 expression coefficients, each 0..1."""

# positions in BLENDSHAPES
EYE_BLENDSHAPES: Final = list(range(9, 23))
MOUTH_BLENDSHAPES: Final = list(range(23, 50))
BROW_BLENDSHAPES: Final = list(range(1, 6))
SMILE_BLENDSHAPES: Final = [44, 45]
EYE_BLINK: Final = [9, 10]
JAW_OPEN: Final = 25
BLENDSHAPE_MIRROR: Final = np.array(
    [
        *(0, 2, 1, 3, 5, 4, 6, 8, 7),  # neutral, brows, cheeks
        *(10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21),  # eyes
        *(23, 26, 25, 24),  # jaw: forward, left, open, right
        *(27, 29, 28, 31, 30, 32, 39, 35, 34, 37, 36, 38, 33),  # mouth: close .. right
        *(40, 41, 42, 43, 45, 44, 47, 46, 49, 48),  # mouth: rolls, shrugs, smile, stretch, upper lip
        *(51, 50),  # nose
    ]
)
