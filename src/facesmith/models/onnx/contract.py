"""What a facesmith swapper says of itself: written into every ONNX file, read back before it is used.

A swapper is a graph with an input `target` (N,3,S,S), RGB, -1..1, an optional input `source` (N,E), an
L2-normalised embedding, and two outputs: `output`, the finished crop like `target`, and `mask` (N,1,S,S) in
0..1, what of it was changed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import facesmith
from facesmith.errors import UserError
from facesmith.faces.geometry.templates import TEMPLATES

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
class SwapperContract:
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
        """Give the contract as ONNX metadata_props."""
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
    def read(cls, metadata: Mapping[str, str], origin: object, *, kind: str = "facesmith") -> "SwapperContract":
        """Read a contract of one kind back from metadata_props; origin names the file in errors.

        Raises:
            UserError: this is no facesmith swapper, or one of another version; says which promise is broken.
        """
        found = metadata.get("contract")
        contract, normalisation = CONTRACTS[kind], NORMALISATIONS[kind]
        if found != contract:
            said = f"its contract is {found!r}" if found else "it carries no contract"
            raise UserError(
                f"{origin}: not a swapper of facesmith: {said}, not {contract!r}; give a file made by export.py"
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
