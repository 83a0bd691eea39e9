"""The card of an adapter: identity, scene, base and consent."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

import facesmith
from facesmith.errors import UserError

CARD: Final = "adapter.json"
Name = Annotated[str, Field(pattern=r"^([^./\\\x00-\x1f][^/\\\x00-\x1f]*)?$", max_length=255)]
"""Text that may be part of a file's name: a card may come from somebody else."""
_STRICT: Final = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class BaseReference:
    """The frozen model that an adapter was trained on.

    Attributes:
        path: Its file, as it was given.
        sha256: Hash of its weights.
        kind: A checkpoint of facesmith or an ONNX file.
        generator: Class of its network, or the kind of another project's swapper.
        embedder: Recogniser of the identities it takes, or that its own identity was measured with; "" for neither.
    """

    __pydantic_config__ = _STRICT

    path: str
    sha256: str
    kind: Literal["checkpoint", "onnx"]
    generator: str
    embedder: str


@dataclass(frozen=True)
class Scene:
    """The scene that an adapter was trained in.

    Attributes:
        key: Key of the target's face set.
        name: Its name, for people.
    """

    __pydantic_config__ = _STRICT

    key: str
    name: Name


@dataclass(frozen=True)
class Consent:
    """Consent of the person whose face the adapter shows.

    Attributes:
        who: The identity's slug.
        kind: As in `data.consent`.
        when: Date, ISO 8601.
        note: Free text, may be empty.
    """

    __pydantic_config__ = _STRICT

    who: str
    kind: str
    when: str
    note: str


@dataclass(frozen=True)
class AdapterCard:
    """Origin and shape of one adapter; no tensor, no torch.

    Attributes:
        base: The model it was trained on.
        scene: The scene it was trained in.
        identity: Slug of the person whose face it shows.
        face_set: Key of the face set the identity was learnt from.
        consent: That person's consent.
        rank: Of every target, except layers with fewer inputs or outputs; the scaling is the same for all.
        alpha: Numerator of the scaling, see `scaling`.
        rslora: Whether alpha is divided by the root of the rank instead of the rank.
        dora: Whether magnitude and direction of the weights are trained separately (DoRA).
        targets: Names of the layers it changes.
        steps: Optimiser steps it was trained for.
        figures: Metrics of base and adapter, by name.
        weights: sha256 of the tensors' file, "" before it is saved.
        facesmith_version: Version that trained it.
        created: ISO 8601, UTC.
    """

    __pydantic_config__ = _STRICT

    base: BaseReference
    scene: Scene
    identity: Name
    face_set: str
    consent: Consent
    rank: Annotated[int, Field(ge=1, le=65536)]
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
        """Return the factor of its matrices' product: alpha / rank, or alpha / sqrt(rank) with rsLoRA."""
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)

    def text(self) -> str:
        """Return the card as JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> "AdapterCard":
        """Read the card of an adapter folder.

        Raises:
            UserError: The folder holds no card, or a damaged one; the error names the first wrong field.
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
