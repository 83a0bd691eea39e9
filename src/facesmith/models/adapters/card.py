"""What an adapter says of itself: whose face, in which scene, for which base, by whose consent."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

import facesmith
from facesmith.errors import UserError

CARD: Final = "adapter.json"
_STRICT: Final = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Base:
    """The frozen model. path: as it was given. sha256: of its weights. generator: its class, or a foreign kind.

    embedder: recogniser of the identities it takes, or was measured with; "" where there is none.
    """

    __pydantic_config__ = _STRICT

    path: str
    sha256: str
    kind: Literal["checkpoint", "onnx"]
    generator: str
    embedder: str


@dataclass(frozen=True)
class Scene:
    """What it was trained in. key: of the target's face set. name: for people."""

    __pydantic_config__ = _STRICT

    key: str
    name: str


@dataclass(frozen=True)
class Consent:
    """Of the person whose face is laid on. who: the identity. kind: as in `data.consent`. when: ISO date."""

    __pydantic_config__ = _STRICT

    who: str
    kind: str
    when: str
    note: str


@dataclass(frozen=True)
class AdapterCard:
    """One adapter's origin and shape; no tensor, no torch.

    identity: slug of the person laid on. face_set: key of the face set the identity was learnt from. rank: of every
    target but those that have fewer inputs or outputs; the scaling is the same for all. targets: names of the layers
    it changes. figures: base and adapter by metric.
    weights: sha256 of the tensors' file, "" before it is saved. created: ISO 8601, UTC.
    """

    __pydantic_config__ = _STRICT

    base: Base
    scene: Scene
    identity: str
    face_set: str
    consent: Consent
    rank: int
    alpha: float
    rslora: bool
    dora: bool
    targets: tuple[str, ...]
    steps: int
    figures: Mapping[str, float]
    weights: str = ""
    facesmith_version: str = facesmith.__version__
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def scaling(self) -> float:
        """By what the product of its two matrices is multiplied: alpha over the rank, or over its root (rsLoRA)."""
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)

    def text(self) -> str:
        """Return the card as JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> "AdapterCard":
        """Read the card of an adapter folder.

        Raises:
            UserError: there is none, or it is damaged; names the first wrong field.
        """
        path = folder / CARD
        if not path.is_file():
            what = f"is no adapter: it holds no {CARD}" if folder.is_dir() else "no such folder"
            raise UserError(f"adapter={folder}: {what}; give a folder that experiment=swap_lora wrote")
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except OSError as error:
            raise UserError(f"adapter={folder}: {CARD} cannot be read ({error.strerror})") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) + ": " if first["loc"] else ""
            raise UserError(f"adapter={folder}: {CARD} is damaged: {where}{first['msg']}; train it again") from None
