"""Write the model card: what a person must know before using an exported swapper."""

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Final

import facesmith
from facesmith.models.onnx.export_spec import ExportReport
from facesmith.models.onnx.info import CONTRACTS, NORMALISATIONS, SwapperInfo

_CARD = """\
# {name}

A face swapper for one use: it puts the face of **{identity}** over the face of another person in a picture.
Made with facesmith {version} on {today}. Contract `{contract}`.

> **Biometric material.** {biometric}
> Treat this file like photographs of that person: keep it, share it and delete it only as they agreed.

> **Synthetic media.** {notice}

## Consent

`{consent}`{consent_note}

## Data

{faces}; face set `{face_set}`. Identity measured with the embedder `{embedder}`.{adapter}

## Quality

{gate}

## Use

| | |
|---|---|
{tensors}
| precision, opset | {precision}, {opset} |
| file | {megabytes:.1f} MB{hash} |
| parity with torch | largest difference {parity:.1e} over {cases} batches (allowed {tolerance:.0e}) |

{use}

## Limits and licences

- It is made for front and half-profile faces; profiles and covered faces come out wrong.
- The recogniser that measured identity and the landmark model are not inside this file. SFace and MediaPipe
  are Apache-2.0; InsightFace's packs (`buffalo_l`) are for non-commercial use, and so is what was trained
  with them.
- The right to use this file follows the consent above, not the licence of facesmith.
"""
_TENSORS: Final = {
    "facesmith": """\
| input `target` | {batch} x 3 x {size} x {size}, float32, RGB, `{normalisation}`, aligned on `{template}` |
{source}| output `output` | like `target`: the finished crop |
| output `mask` | {batch} x 1 x {size} x {size}, 0..1: what was changed |""",
    "dfm": """\
| input `in_face:0` | {batch} x {size} x {size} x 3, float32, BGR, 0..1, aligned on `{template}` |
| output 0 `out_face_mask:0` | {batch} x {size} x {size} x 1, 0..1: what was changed |
| output 1 `out_celeb_face:0` | like the input: the finished crop |
| output 2 `out_celeb_face_mask:0` | as output 0 |""",
}
_TENSORS_OF: Final = {**_TENSORS, "hyperswap": _TENSORS["facesmith"]}
_USE: Final = {
    "facesmith": "`facesmith infer task=swap model={file} source=<image or video> output=<file>`",
    "dfm": """\
- FaceFusion: put `{file}` alone into `.assets/models/custom/` and choose `custom/{name}` as deep swapper. Nothing
  else of this name may lie there, no `.hash` and no `.onnx`: it would take the file's place. Its deep swapper takes
  the coarse shading of brows and eyes from the target; `to=hyperswap` keeps more of the likeness there.
- DeepFaceLive: put it into `<userdata>/dfm_models/`.
- `facesmith infer task=swap model={file} source=<image or video> output=<file>`""",
    "hyperswap": """\
- FaceFusion: copy `{name}.onnx` and `{hash_name}` over the files of these names in `.assets/models/` and choose
  `{name}` as face swapper. {source_note} The slot's own model is gone until FaceFusion downloads it again.
- `facesmith infer task=swap model={file} source=<image or video> output=<file>`""",
}


def swapper_card(metadata: Mapping[str, str], path: Path) -> Callable[[ExportReport], str]:
    """Return the function that writes a swapper's model card.

    Args:
        metadata: The file's metadata_props.
        path: The file.

    Returns:
        From the report of the export to the card, Markdown.

    Raises:
        UserError: The metadata are no contract of a swapper.
    """
    kinds = {contract: kind for kind, contract in CONTRACTS.items()}
    kind = kinds.get(metadata.get("contract", ""), "facesmith")
    info = SwapperInfo.from_metadata(metadata, path, kind=kind)
    return lambda report: _fill_card(info, metadata["notice"], metadata.get("adapter", ""), report)


def _fill_card(info: SwapperInfo, notice: str, adapter: str, report: ExportReport) -> str:
    baked = info.identity_baked_in
    path = report.path
    rows = "\n".join(f"| `{key}` | {value:.3f} |" for key, value in sorted(info.gate.items()))
    source = "" if baked else f"| input `source` | {report.batch} x {info.embedding_size}, L2-normalised |\n"
    hash_name = report.hash_path.name if report.hash_path else ""
    return _CARD.format(
        name=path.stem,
        identity=info.identity,
        version=facesmith.__version__,
        today=date.today().isoformat(),
        contract=CONTRACTS[info.kind],
        biometric=(
            "The identity is baked in: the file contains recognisable pictures or features of a real person."
            if baked
            else "The file was trained on real faces and may reproduce features of them."
        ),
        notice=notice,
        consent=info.consent,
        consent_note=f": {info.consent_note}" if info.consent_note else "",
        faces=f"{info.faces} faces" if info.faces else "Number of faces not recorded",
        face_set=info.face_set or "not recorded",
        embedder=info.embedder,
        adapter=f"\nMerged into it: the adapter {adapter}; the figures below are those of the model without it."
        if adapter
        else "",
        gate=f"| metric | value |\n|---|---|\n{rows}" if rows else "No quality gate was run before this export.",
        tensors=_TENSORS_OF[info.kind].format(
            batch=report.batch,
            size=info.size,
            template=info.template,
            normalisation=NORMALISATIONS[info.kind],
            source=source,
        ),
        precision="float32" if report.precision == "fp32" else "float16 inside, float32 inputs and outputs",
        opset=report.opset,
        megabytes=report.bytes / 1e6,
        hash=f", CRC32 in `{hash_name}`" if hash_name else "",
        parity=report.parity,
        cases=report.cases,
        tolerance=report.tolerance,
        use=_USE[info.kind].format(
            file=path.name,
            name=path.stem,
            hash_name=hash_name,
            source_note="A source picture must be given, but its face is not used." if baked else "",
        ),
    )
