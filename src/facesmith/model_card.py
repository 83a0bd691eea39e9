"""The model card: what a person must know before using an exported swapper."""

from datetime import date
from pathlib import Path

from facesmith.swapper_contract import CONTRACT, NORMALISATION, SwapperContract

_CARD = """\
# {name}

A face swapper for one use: it lays the face of **{identity}** over the face of another person in a picture.
Made with facesmith {version} on {today}. Contract `{contract}`.

> **Biometric material.** {biometric}
> Treat this file like photographs of that person: keep it, share it and delete it only as they agreed.

> **Synthetic media.** {notice}

## Consent

`{consent}`{consent_note}

## Data

{faces}; face set `{face_set}`. Identity measured with the embedder `{embedder}`.

## Quality

{gate}

## Use

| | |
|---|---|
| input `target` | {batch} x 3 x {size} x {size}, float32, RGB, `{normalisation}`, aligned on `{template}` |
{source_row}| output `output` | like `target`: the finished crop |
| output `mask` | {batch} x 1 x {size} x {size}, 0..1: what was changed |
| precision, opset | float32, {opset} |
| file | {megabytes:.1f} MB, CRC32 in `{hash_name}` |
| parity with torch | largest difference {parity:.1e} over {cases} batches (allowed {tolerance:.0e}) |

`python infer.py task=swap model={file} source=<image or video> output=<file>`

## Limits and licences

- It is made for front and half-profile faces; profiles and covered faces come out wrong.
- The recogniser that measured identity and the landmark model are not inside this file. SFace and MediaPipe
  are Apache-2.0; InsightFace's packs (`buffalo_l`) are for non-commercial use, and so is what was trained
  with them.
- The right to use this file follows the consent above, not the licence of facesmith.
"""


def model_card(
    path: Path,
    contract: SwapperContract,
    *,
    version: str,
    notice: str,
    opset: int,
    batch: str,
    parity: float,
    cases: int,
    tolerance: float,
    size_bytes: int,
    hash_name: str,
) -> str:
    """Give the Markdown card of the ONNX file at `path`; figures as measured by the export."""
    baked = contract.embedding_size is None
    rows = "\n".join(f"| `{key}` | {value:.3f} |" for key, value in sorted(contract.gate.items()))
    return _CARD.format(
        name=path.stem,
        file=path.name,
        identity=contract.identity,
        version=version,
        today=date.today().isoformat(),
        contract=CONTRACT,
        biometric=(
            "The identity is baked in: the file contains recognisable pictures or features of a real person."
            if baked
            else "The file was trained on real faces and may reproduce features of them."
        ),
        notice=notice,
        consent=contract.consent,
        consent_note=f": {contract.consent_note}" if contract.consent_note else "",
        faces=f"{contract.faces} faces" if contract.faces else "Number of faces not recorded",
        face_set=contract.face_set or "not recorded",
        embedder=contract.embedder,
        gate=f"| metric | value |\n|---|---|\n{rows}" if rows else "No quality gate was run before this export.",
        batch=batch,
        size=contract.size,
        normalisation=NORMALISATION,
        template=contract.template,
        source_row="" if baked else f"| input `source` | {batch} x {contract.embedding_size}, L2-normalised |\n",
        opset=opset,
        megabytes=size_bytes / 1e6,
        hash_name=hash_name,
        parity=parity,
        cases=cases,
        tolerance=tolerance,
    )
