"""The kinds of foreign swapper that can be used, and what each is fed: the table of FaceFusion 3.8."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import facesmith
from facesmith.errors import UserError
from facesmith.faces.geometry.alignment import TEMPLATES

Triple = tuple[float, float, float]
ARCFACE: Final = "arcface_w600k_r50"
ARCFACE_SIZE: Final = 512


@dataclass(frozen=True)
class SwapperType:
    """One kind of swapper: target (N,3,S,S) RGB in, output 0 alike.

    sizes: S in px, each with mean and std of target = (RGB/255 - mean) / std. template: of its crops.
    centred: the output is normalised like the target, else 0..1. source: what it is told about the person:
    `embedding` (L2-normalised ArcFace), `emap` (that times the file's last initializer), `converter` (the raw
    embedding through a crossface file), `unit_converter` (L2-normalised after that), or `photo` (RGB 0..1).
    photo: template and size of that picture.
    """

    sizes: Mapping[int, tuple[Triple, Triple]]
    template: str
    centred: bool
    source: Literal["embedding", "emap", "converter", "unit_converter", "photo"]
    photo: tuple[str, int] | None = None


_NONE: Final = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_HALF: Final = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

TYPES: Final[Mapping[str, SwapperType]] = {
    "hyperswap": SwapperType({256: _HALF}, "arcface_128", True, "embedding"),
    "inswapper": SwapperType({128: _NONE}, "arcface_128", False, "emap"),
    "ghost": SwapperType({256: _HALF}, "arcface_112_v1", True, "converter"),
    "hififace": SwapperType({256: _HALF}, "mtcnn_512", True, "unit_converter"),
    "simswap": SwapperType({256: _IMAGENET, 512: _NONE}, "arcface_112_v1", False, "unit_converter"),
    "blendswap": SwapperType({256: _NONE}, "ffhq_512", False, "photo", ("arcface_112_v2", 112)),
    "uniface": SwapperType({256: _HALF}, "ffhq_512", True, "photo", ("ffhq_512", 256)),
}


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
CONTRACT: Final = CONTRACTS["facesmith"]
NORMALISATION: Final = NORMALISATIONS["facesmith"]
NOTICE: Final = "Pictures made with this model are synthetic media; mark them as such wherever they are shown."
TARGET, SOURCE, OUTPUT, MASK = "target", "source", "output", "mask"
CONSENTS: Final = ("self", "written", "licensed", "public_domain", "synthetic")


@dataclass(frozen=True)
class SwapperInfo:
    """A swapper's promises and provenance.

    template: name in `faces.templates`. size: S in px. embedder: recogniser its identity was measured with.
    embedding_size: E of the `source` input, None when the identity is baked in. identity: slug. consent: one
    of CONSENTS. face_set: key of the face set it was trained on. faces: how many faces that were. gate: its
    figures by metric name. kind: whose contract the graph keeps, a key of CONTRACTS.
    """

    template: str
    size: int
    embedder: str
    embedding_size: int | None
    identity: str
    consent: str
    consent_note: str
    face_set: str
    faces: int
    gate: Mapping[str, float] = field(default_factory=dict)
    kind: str = "facesmith"

    def __post_init__(self) -> None:
        if self.template not in TEMPLATES:
            raise ValueError(f"template {self.template!r} is none of {', '.join(TEMPLATES)}")
        if self.size < 1 or (self.embedding_size is not None and self.embedding_size < 1):
            raise ValueError(f"size {self.size} and embedding size {self.embedding_size} must be positive")
        if self.consent not in CONSENTS:
            raise ValueError(f"consent {self.consent!r} is none of {', '.join(CONSENTS)}")

    def metadata(self) -> dict[str, str]:
        """Return the contract as ONNX metadata_props."""
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
            "face_set": self.face_set,
            "faces": str(self.faces),
            "gate": json.dumps(dict(self.gate), sort_keys=True),
            "facesmith_version": facesmith.__version__,
            "notice": NOTICE,
        }

    @classmethod
    def read(cls, metadata: Mapping[str, str], origin: object, *, kind: str = "facesmith") -> "SwapperInfo":
        """Read a contract of one kind back from metadata_props; origin names the file in errors.

        Raises:
            UserError: this is no facesmith swapper, or one of another version; says which promise is broken.
        """
        found = metadata.get("contract")
        contract, normalisation = CONTRACTS[kind], NORMALISATIONS[kind]
        if found != contract:
            said = f"its contract is {found!r}" if found else "it carries no contract"
            raise UserError(
                f"{origin}: not a swapper of facesmith: {said}, not {contract!r}; give a file of facesmith export"
            )
        if metadata.get("normalisation") != normalisation:
            raise UserError(
                f"{origin}: normalisation is {metadata.get('normalisation')!r}, not {normalisation!r}; export it again"
            )
        try:
            gate = json.loads(metadata["gate"])
            if not isinstance(gate, dict) or not all(isinstance(value, int | float) for value in gate.values()):
                raise ValueError("gate is not a group of figures")
            return cls(
                template=metadata["template"],
                size=int(metadata["size"]),
                embedder=metadata["embedder"],
                embedding_size=int(metadata["embedding_size"]) if metadata["embedding_size"] else None,
                identity=metadata["identity"],
                consent=metadata["consent"],
                consent_note=metadata["consent_note"],
                face_set=metadata["face_set"],
                faces=int(metadata["faces"]),
                gate=gate,
                kind=kind,
            )
        except KeyError as error:
            raise UserError(f"{origin}: metadata lacks {error.args[0]!r}; export it again") from None
        except ValueError as error:
            raise UserError(f"{origin}: wrong metadata: {error}; export it again") from None


DFM_INPUT, DFM_MORPH = "in_face:0", "morph_value:0"


def kind_of(
    path: Path, metadata: Mapping[str, str], inputs: Collection[str], *, chosen: str, key: str, origin: object
) -> str:
    """Return `facesmith`, `dfm` or a key of `TYPES`.

    chosen: by the user, or `auto`. key: the setting that chooses. origin: names the file in errors.

    Raises:
        UserError: the choice is not what the file says of itself, or nothing tells.
    """
    said = _said(metadata)
    if chosen != "auto" and said not in (None, chosen):
        raise UserError(f"{key}={chosen}: {path} says that it is {said}; leave {key} out")
    if said or chosen != "auto":
        return said or chosen
    if path.suffix == ".dfm" or DFM_INPUT in inputs:
        return "dfm"
    named = [name for name in TYPES if name in path.stem.lower()]
    if len(named) == 1:
        return named[0]
    raise UserError(
        f"{origin}: it carries no contract and its name tells no type; "
        f"give {key}=facesmith, dfm, {', '.join(list(TYPES)[:-1])} or {list(TYPES)[-1]}"
    )


def _said(metadata: Mapping[str, str]) -> str | None:
    """What the file says it is, in the metadata that facesmith writes."""
    said = metadata.get("contract")
    known = {contract: name for name, contract in CONTRACTS.items()}
    return known.get(said, "facesmith") if said else None
