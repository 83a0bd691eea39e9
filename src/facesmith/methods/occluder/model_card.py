"""Metadata and model card of an exported occluder."""

import json
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

import facesmith
from facesmith.models.onnx.clients import XSEG_CONTRACT, XSEG_INPUT, XSEG_OUTPUT
from facesmith.models.onnx.export_spec import ExportReport

_CARD: Final = """\
# {name}

An occluder: it separates the visible face from hands, hair, glasses and whatever else covers it. Made with facesmith
{version} on {today}. Contract `{contract}`.

> **Made from faces.** It was trained on {faces} faces of `{identity}` (face set `{face_set}`). It generates no face,
> but it may work better on this person than on others.

## Consent

`{consent}`{consent_note}

## Quality

On held-out frames, covered with synthetic things; `_unseen` is over kinds of things that were never trained on.

{gate}

## Use

| | |
|---|---|
| input `{input}` | {batch} x {size} x {size} x 3, float32, BGR, 0..1 |
| output `{output}` | {batch} x {size} x {size} x 1, 0..1: 1 where the face is visible |
| computed at | {inner} px; other sizes are resampled inside the graph |
| precision, opset | {precision}, {opset} |
| file | {megabytes:.1f} MB{hash} |
| parity with torch | largest difference {parity:.1e} over {cases} batches (allowed {tolerance:.0e}) |

- `facesmith infer task=swap occluder={file} model=<swapper> source=<file> output=<file>`
- FaceFusion: copy `{file}`{beside} over the files of one of its occluders, such as `xseg_1.onnx` and `xseg_1.hash` in
  `.assets/models/`, and choose that face occluder.

## Limits

Training used drawn occluders, not photographs: check its masks on your own media before you rely on them.
"""


def occluder_metadata(provenance: Mapping[str, Any], size: int) -> dict[str, str]:
    """Return the metadata_props of an exported occluder.

    Args:
        provenance: Of the training, as checkpoints carry it.
        size: Width and height of the model's input in px.
    """
    return {
        "contract": XSEG_CONTRACT,
        "size": str(size),
        "inner_size": str(provenance["size"]),
        "identity": str(provenance["identity"]),
        "consent": str(provenance["consent"]),
        "consent_note": str(provenance["consent_note"]),
        "expires": str(provenance.get("expires") or ""),
        "face_set": str(provenance["face_set"]),
        "faces": str(provenance["faces"]),
        "gate": json.dumps(provenance.get("gate", {}), sort_keys=True),
        "facesmith_version": facesmith.__version__,
    }


def occluder_card(metadata: Mapping[str, str]) -> Callable[[ExportReport], str]:
    """Return a function that writes the model card as Markdown from the report of an export."""
    return lambda report: _fill_card(metadata, report)


def _fill_card(metadata: Mapping[str, str], report: ExportReport) -> str:
    rows = "\n".join(f"| `{key}` | {value:.3f} |" for key, value in sorted(json.loads(metadata["gate"]).items()))
    note, hashed = metadata["consent_note"], report.hash_path
    return _CARD.format(
        name=report.path.stem,
        version=facesmith.__version__,
        today=date.today().isoformat(),
        contract=metadata["contract"],
        faces=metadata["faces"],
        identity=metadata["identity"],
        face_set=metadata["face_set"],
        consent=metadata["consent"],
        consent_note=f": {note}" if note else "",
        gate=f"| metric | value |\n|---|---|\n{rows}" if rows else "It was not validated before this export.",
        input=XSEG_INPUT,
        output=XSEG_OUTPUT,
        batch=report.batch,
        size=metadata["size"],
        inner=metadata["inner_size"],
        precision="float32" if report.precision == "fp32" else "float16 inside, float32 input and output",
        opset=report.opset,
        megabytes=report.bytes / 1e6,
        hash=f", CRC32 in `{hashed.name}`" if hashed else "",
        beside=f" and `{hashed.name}`" if hashed else "",
        parity=report.parity,
        cases=report.cases,
        tolerance=report.tolerance,
        file=report.path.name,
    )
