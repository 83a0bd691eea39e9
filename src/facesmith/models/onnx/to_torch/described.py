"""What a swapper's file says of itself, before its network is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from facesmith.models.onnx.foreign import ForeignContract, foreign_contract
from facesmith.models.onnx.graph import OnnxGraph, check_own, dfm_size
from facesmith.models.onnx.info import ARCFACE, ARCFACE_SIZE, SwapperInfo, kind_of

_DFM_TEMPLATE: Final = "dfl_whole_face"
_GROUP: Final = "model.onnx"


@dataclass(frozen=True)
class Described:
    """A swapper's file. kind: `facesmith`, `dfm` or a key of `TYPES`. template, size: of its crops. embedding_size,
    embedder: of the identity it is told, None and "" where that is baked in or comes as a photo. photo: template and
    size of that photo. identity, consent, consent_note, face_set: of the face baked in, else empty. metadata: the
    file's. fixed_batch: it takes one picture at a time.
    """

    path: Path
    kind: str
    template: str
    size: int
    embedding_size: int | None
    embedder: str
    photo: tuple[str, int] | None
    metadata: Mapping[str, str]
    foreign: ForeignContract | None
    fixed_batch: bool

    @property
    def told(self) -> bool:
        """Whether it is told whose face to lay on."""
        return self.embedding_size is not None or self.photo is not None

    @property
    def identity(self) -> str:
        """Whose face is baked in."""
        return "" if self.told else self.metadata.get("identity", self.path.stem)

    @property
    def face_set(self) -> str:
        """Key of the face set it learnt the baked face from."""
        return "" if self.told else self.metadata.get("face_set", "")


def describe(
    path: Path, *, model_type: str = "auto", converter: Path | None = None, raw_length: float = 1.0
) -> Described:
    """Read what a file (.onnx or .dfm) says; arguments as in `load_swapper`, keys of `model.onnx` in errors.

    Raises:
        UserError: missing, or not a swapper by contract.
    """
    file = OnnxGraph(path, "model.base")
    said = file.metadata
    kind = kind_of(path, said, file.inputs, chosen=model_type, key=f"{_GROUP}.model_type", origin=file)
    fixed = any(value.shape[:1] == (1,) for value in file.inputs.values())
    if kind == "facesmith":
        contract = SwapperInfo.read(said, file)
        check_own(contract, file)
        known = (contract.template, contract.size, contract.embedding_size, contract.embedder)
        return Described(path, kind, *known, None, said, None, fixed)
    if kind == "dfm":
        known = (_DFM_TEMPLATE, dfm_size(file), None, said.get("embedder", ""))
        return Described(path, kind, *known, None, said, None, fixed)
    foreign = foreign_contract(file, kind, converter=converter, raw_length=raw_length, group=_GROUP)
    photo = foreign.kind.photo if foreign.told else None
    embedded = foreign.told and photo is None
    embedder = ARCFACE if embedded else "" if foreign.told else said.get("embedder", "")
    known = (foreign.kind.template, foreign.size, ARCFACE_SIZE if embedded else None, embedder)
    return Described(path, kind, *known, photo, said, foreign, fixed)
