"""Properties of a swapper: layout of its tensors, identity and consent.

One description of facesmith's own swappers and of other projects' files, read from a file once (`swapper_file`), used
to run them (`session`) and to train on them (`to_torch`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

import facesmith
from facesmith.config.consent import CONSENT_KINDS, require_current
from facesmith.errors import UserError
from facesmith.faces.geometry.alignment import TEMPLATES

Floats = npt.NDArray[np.float32]
Triple = tuple[float, float, float]

ARCFACE: Final = "arcface_w600k_r50"
ARCFACE_SIZE: Final = 512
TARGET, SOURCE, LANDMARKS, OUTPUT, MASK = "target", "source", "landmarks", "output", "mask"
DFM_INPUT, DFM_MORPH = "in_face:0", "morph_value:0"
NOTICE: Final = "Pictures made with this model are synthetic media; mark them as such wherever they are shown."

# By kind: what facesmith writes into the files it exports.
CONTRACTS: Final = {
    "facesmith": "facesmith/swapper/1",
    "hyperswap": "facesmith/hyperswap/1",
    "dfm": "facesmith/dfm/1",
}
NORMALISATIONS: Final = {
    "facesmith": "x / 127.5 - 1",
    "hyperswap": "x / 127.5 - 1",
    "dfm": "x / 255, BGR, channels last",
}
LANDMARKS_OPTIONAL: Final = "optional, 478, px of the crop"
CONTRACT: Final = CONTRACTS["facesmith"]

_NONE: Final = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_HALF: Final = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class TensorLayout:
    """Names, channel order and value range of a swapper's inputs and outputs.

    The target is `(RGB / 255 - mean) / std`, of shape (N,3,S,S), or (N,S,S,3) with `channels_last`.

    Attributes:
        target: Input that takes the crop to be swapped.
        source: Input that takes the identity.
        landmarks: Input that takes landmarks of the crop, where the swapper takes them.
        morph: Input that takes how far towards the person to go, 0..1, as one number without a batch axis; None where
            there is none.
        output: Output that holds the picture, laid out like the target.
        masks: Mask outputs, combined by their minimum, 0..1: what was changed; none: the whole crop.
        mean: By channel, RGB.
        std: By channel, RGB.
        channels: Order of the channels.
        channels_last: Whether channels are the last axis instead of the second.
        normalised_output: Whether the picture is normalised like the target; else it is 0..1.
        composited: Whether the picture is blended into the crop; else it is a bare face, meaningful inside the mask.
    """

    target: str = TARGET
    source: str = SOURCE
    landmarks: str = LANDMARKS
    morph: str | None = None
    output: str = OUTPUT
    masks: tuple[str, ...] = (MASK,)
    mean: Triple = _HALF[0]
    std: Triple = _HALF[1]
    channels: Literal["RGB", "BGR"] = "RGB"
    channels_last: bool = False
    normalised_output: bool = True
    composited: bool = True

    def target_scaling(self, low: float, high: float) -> tuple[Floats, Floats]:
        """Return divisor and shift, (3,) each, so that target = pixels / divisor - shift for RGB in low..high."""
        return _scaling(self.mean, self.std, low, high)

    def output_scaling(self, low: float, high: float) -> tuple[Floats, Floats]:
        """Return divisor and shift, (3,) each, so that RGB in low..high = (picture + shift) * divisor."""
        return _scaling(*((self.mean, self.std) if self.normalised_output else _NONE), low, high)


def _scaling(mean: Triple, std: Triple, low: float, high: float) -> tuple[Floats, Floats]:
    spread = high - low
    divisor, shift = np.multiply(std, spread), (low / spread + np.array(mean)) / std
    return divisor.astype(np.float32), shift.astype(np.float32)


DFM_LAYOUT: Final = TensorLayout(
    target=DFM_INPUT,
    output="out_celeb_face:0",
    masks=("out_face_mask:0", "out_celeb_face_mask:0"),
    mean=_NONE[0],
    std=_NONE[1],
    channels="BGR",
    channels_last=True,
    normalised_output=False,
    composited=False,
)
DFM_TEMPLATE: Final = "dfl_whole_face"


@dataclass(frozen=True)
class SwapperInfo:
    """A swapper's crops, identity, tensors and provenance.

    Attributes:
        template: Alignment template of its crops, a name in `faces.geometry.alignment.TEMPLATES`.
        size: Side of its crops in px.
        embedder: Recogniser of the identities it takes, or that its own identity was measured with; "" for neither.
        embedding_size: Length of the embedding it takes; None where the identity is baked in or comes as a photo.
        identity: Slug of the person it was trained on, or the file name; "" for a foreign file that takes any.
        consent: That person's, one of `CONSENT_KINDS`; "" if the file does not state it.
        consent_note: Free text.
        face_set: Key of the face set it was trained on, "" where unknown.
        faces: Number of faces it was trained on, 0 where unknown.
        gate: Its metrics by name.
        kind: `facesmith`, `dfm`, or a key of `FOREIGN`.
        photo: Template and side in px of the photo of the person it takes, None where it takes none.
        source_encoding: What its source input holds: `embedding` (L2-normalised), `emap` (that times the file's last
            initializer), `converter` (the embedding, not normalised, through a crossface network), `unit_converter`
            (L2-normalised after that), or `photo` (RGB 0..1).
        converter: The crossface network, None where none is needed.
        raw_length: Length of an embedding before it was normalised, for the converter.
        tensors: Layout of its inputs and outputs.
        path: Its file, None for a network that is none.
        takes_landmarks: Whether it takes the landmarks of its crops, (N,478,3) px with pixel centres at .5, as an input
            that need not be fed: `tensors.landmarks`.
        fixed_batch: Whether the file takes one crop at a time.
        exported_by_facesmith: Whether facesmith wrote the file; its weights have the names of the network then.
        adaptable: Parts of names of the layers that adapters change by default; empty: all layers.
        expires: ISO date of the consent's last day; "" for no end.
    """

    template: str
    size: int
    embedder: str = ""
    embedding_size: int | None = None
    identity: str = ""
    consent: str = ""
    consent_note: str = ""
    face_set: str = ""
    faces: int = 0
    gate: Mapping[str, float] = field(default_factory=dict)
    kind: str = "facesmith"
    photo: tuple[str, int] | None = None
    source_encoding: Literal["embedding", "emap", "converter", "unit_converter", "photo"] = "embedding"
    converter: Path | None = None
    raw_length: float = 1.0
    tensors: TensorLayout = TensorLayout()
    path: Path | None = None
    takes_landmarks: bool = False
    fixed_batch: bool = False
    exported_by_facesmith: bool = False
    adaptable: tuple[str, ...] = ()
    expires: str = ""

    def __post_init__(self) -> None:
        if self.template not in TEMPLATES:
            raise ValueError(f"template {self.template!r} is none of {', '.join(TEMPLATES)}")
        if self.size < 1 or (self.embedding_size is not None and self.embedding_size < 1):
            raise ValueError(f"size {self.size} and embedding size {self.embedding_size} must be positive")
        if self.consent not in ("", *CONSENT_KINDS):
            raise ValueError(f"consent {self.consent!r} is none of {', '.join(CONSENT_KINDS)}")

    @property
    def takes_source(self) -> bool:
        """Return whether it takes the identity as an input."""
        return self.embedding_size is not None or self.photo is not None

    @property
    def identity_baked_in(self) -> bool:
        """Return whether it shows one person's face, which its weights hold."""
        return not self.takes_source

    def metadata(self) -> dict[str, str]:
        """Return the ONNX metadata_props of the exported file.

        Raises:
            ValueError: The consent is unknown, or the kind is another project's.
        """
        if self.consent not in CONSENT_KINDS:
            raise ValueError(f"consent {self.consent!r} is none of {', '.join(CONSENT_KINDS)}")
        if self.kind not in CONTRACTS:
            raise ValueError(f"kind {self.kind!r} is none of {', '.join(CONTRACTS)}")
        return {
            "contract": CONTRACTS[self.kind],
            "template": self.template,
            "size": str(self.size),
            "normalisation": NORMALISATIONS[self.kind],
            "embedder": self.embedder,
            "embedding_size": "" if self.embedding_size is None else str(self.embedding_size),
            "identity": self.identity,
            "consent": self.consent,
            "consent_note": self.consent_note,
            "expires": self.expires,
            "face_set": self.face_set,
            "faces": str(self.faces),
            "landmarks": LANDMARKS_OPTIONAL if self.takes_landmarks else "",
            "gate": json.dumps(dict(self.gate), sort_keys=True),
            "facesmith_version": facesmith.__version__,
            "notice": NOTICE,
        }

    @classmethod
    def from_metadata(
        cls, metadata: Mapping[str, str], origin: object, *, kind: str = "facesmith", **more: Any
    ) -> "SwapperInfo":
        """Read the metadata_props of a file that facesmith exported.

        Args:
            metadata: As `metadata` returned them.
            origin: Names the file in errors.
            kind: Whose contract the file keeps, a key of `CONTRACTS`.
            more: Further fields, which the metadata do not hold.

        Raises:
            UserError: The file is no swapper of facesmith, one of another version, or the person's consent has ended.
        """
        found = metadata.get("contract")
        contract, normalisation = CONTRACTS[kind], NORMALISATIONS[kind]
        if found != contract:
            why = f"its contract is {found!r}" if found else "it carries no contract"
            raise UserError(
                f"{origin}: not a swapper of facesmith: {why}, not {contract!r}; give a file of facesmith export"
            )
        if metadata.get("normalisation") != normalisation:
            raise UserError(
                f"{origin}: normalisation is {metadata.get('normalisation')!r}, not {normalisation!r}; export it again"
            )
        require_current(metadata.get("expires"), origin, metadata.get("identity"))
        try:
            gate = json.loads(metadata["gate"])
            if not isinstance(gate, dict) or not all(isinstance(value, int | float) for value in gate.values()):
                raise ValueError("gate is not a group of figures")
            if metadata["consent"] not in CONSENT_KINDS:
                raise ValueError(f"consent {metadata['consent']!r} is none of {', '.join(CONSENT_KINDS)}")
            return cls(
                template=metadata["template"],
                size=int(metadata["size"]),
                embedder=metadata["embedder"],
                embedding_size=int(metadata["embedding_size"]) if metadata["embedding_size"] else None,
                identity=metadata["identity"],
                consent=metadata["consent"],
                consent_note=metadata["consent_note"],
                expires=metadata.get("expires", ""),
                face_set=metadata["face_set"],
                faces=int(metadata["faces"]),
                gate=gate,
                kind=kind,
                takes_landmarks=metadata.get("landmarks", "") == LANDMARKS_OPTIONAL,
                exported_by_facesmith=True,
                adaptable=tuple(filter(None, metadata.get("adaptable", "").split(","))),
                **more,
            )
        except KeyError as error:
            raise UserError(f"{origin}: metadata lacks {error.args[0]!r}; export it again") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{origin}: wrong metadata: {error}; export it again") from None


def _foreign(
    kind: str,
    template: str,
    size: int,
    normalisation: tuple[Triple, Triple],
    source: Literal["embedding", "emap", "converter", "unit_converter", "photo"],
    *,
    normalised_output: bool,
    photo: tuple[str, int] | None = None,
) -> SwapperInfo:
    mean, std = normalisation
    return SwapperInfo(
        template,
        size,
        "" if photo else ARCFACE,
        None if photo else ARCFACE_SIZE,
        kind=kind,
        photo=photo,
        source_encoding=source,
        tensors=TensorLayout(masks=(), mean=mean, std=std, normalised_output=normalised_output),
    )


# Other projects' swappers by kind, one for each size; the first is taken where a file leaves its size free. The values
# are those of FaceFusion 3.8.
FOREIGN: Final[Mapping[str, tuple[SwapperInfo, ...]]] = {
    each[0].kind: each
    for each in (
        (_foreign("hyperswap", "arcface_128", 256, _HALF, "embedding", normalised_output=True),),
        (_foreign("inswapper", "arcface_128", 128, _NONE, "emap", normalised_output=False),),
        (_foreign("ghost", "arcface_112_v1", 256, _HALF, "converter", normalised_output=True),),
        (_foreign("hififace", "mtcnn_512", 256, _HALF, "unit_converter", normalised_output=True),),
        (
            _foreign("simswap", "arcface_112_v1", 256, _IMAGENET, "unit_converter", normalised_output=False),
            _foreign("simswap", "arcface_112_v1", 512, _NONE, "unit_converter", normalised_output=False),
        ),
        (
            _foreign(
                "blendswap", "ffhq_512", 256, _NONE, "photo", normalised_output=False, photo=("arcface_112_v2", 112)
            ),
        ),
        (_foreign("uniface", "ffhq_512", 256, _HALF, "photo", normalised_output=True, photo=("ffhq_512", 256)),),
    )
}
