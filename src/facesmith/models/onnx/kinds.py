"""Which contract a model file keeps: from its own metadata, its suffix, its inputs or its name."""

from collections.abc import Collection, Mapping
from pathlib import Path

from facesmith.errors import UserError
from facesmith.models.onnx.contract import CONTRACTS
from facesmith.models.onnx.types import TYPES

DFM_INPUT, DFM_MORPH = "in_face:0", "morph_value:0"


def kind_of(
    path: Path, metadata: Mapping[str, str], inputs: Collection[str], *, chosen: str, key: str, origin: object
) -> str:
    """Give `facesmith`, `dfm` or a key of `TYPES`.

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
