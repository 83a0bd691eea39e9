"""Read what a swapper's file is: its kind, its contract and its metadata."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from facesmith.config.consent import require_current
from facesmith.errors import UserError
from facesmith.faces.geometry import topology
from facesmith.models.onnx.graph import OnnxGraph
from facesmith.models.onnx.info import (
    ARCFACE_SIZE,
    CONTRACTS,
    DFM_INPUT,
    DFM_LAYOUT,
    DFM_MORPH,
    DFM_TEMPLATE,
    FOREIGN,
    LANDMARKS,
    MASK,
    OUTPUT,
    SOURCE,
    TARGET,
    SwapperInfo,
)


def read_info(
    path: Path,
    *,
    model_type: str = "auto",
    converter: Path | None = None,
    raw_length: float = 1.0,
    setting: str = "model",
    group: str = "task",
) -> SwapperInfo:
    """Open a swapper's file, .onnx or .dfm, and read what it is; see `describe_graph`.

    Args:
        path: The file.
        model_type: Its kind, see `describe_graph`.
        converter: Crossface network, see `describe_graph`.
        raw_length: Length of an embedding before it was normalised, see `describe_graph`.
        setting: Key that named the file, for errors.
        group: Group of the keys `model_type` and `converter`, for errors.

    Raises:
        UserError: The file is missing, unreadable, or no swapper.
    """
    graph = OnnxGraph(path, setting)
    return describe_graph(graph, model_type=model_type, converter=converter, raw_length=raw_length, group=group)


def describe_graph(
    graph: OnnxGraph,
    *,
    model_type: str = "auto",
    converter: Path | None = None,
    raw_length: float = 1.0,
    group: str = "task",
) -> SwapperInfo:
    """Read what kind of swapper a graph is, and check it against that kind's contract.

    Args:
        graph: The opened file.
        model_type: `auto`, which believes the file's metadata, then its suffix, inputs and name; or `facesmith`, `dfm`
            or a key of `FOREIGN`.
        converter: Crossface network, for the kinds that need one.
        raw_length: Length of an ArcFace embedding before it was normalised: a profile keeps its direction only, and
            converters take the embedding as it was.
        group: Group of the keys `model_type` and `converter`, for errors.

    Raises:
        UserError: The kind is unknown or contradicts the metadata, the graph breaks the contract, or a converter is
            missing or not needed.
    """
    kind = _kind_of(graph, model_type, f"{group}.model_type")
    if kind == "facesmith":
        info = SwapperInfo.from_metadata(graph.metadata, graph)
        _check_own(info, graph)
    elif kind == "dfm":
        info = _describe_dfm(graph)
    else:
        info = _describe_foreign(graph, kind, f"{group}.model_type")
    return replace(
        info,
        path=graph.path,
        fixed_batch=any(value.shape[:1] == (1,) for value in graph.inputs.values()),
        exported_by_facesmith="contract" in graph.metadata,
        adaptable=tuple(filter(None, graph.metadata.get("adaptable", "").split(","))),
        **_converting(graph, info, converter, raw_length, f"{group}.converter"),
    )


def _kind_of(graph: OnnxGraph, model_type: str, key: str) -> str:
    declared = _declared_kind(graph.metadata)
    if model_type != "auto" and declared not in (None, model_type):
        raise UserError(f"{key}={model_type}: {graph.path} states that it is {declared}; omit {key}")
    if declared or model_type != "auto":
        return declared or model_type
    if graph.path.suffix == ".dfm" or DFM_INPUT in graph.inputs:
        return "dfm"
    named = [kind for kind in FOREIGN if kind in graph.path.stem.lower()]
    if len(named) == 1:
        return named[0]
    kinds = list(FOREIGN)
    raise UserError(
        f"{graph}: it has no facesmith metadata and its name does not state the type; "
        f"give {key}=facesmith, dfm, {', '.join(kinds[:-1])} or {kinds[-1]}"
    )


def _declared_kind(metadata: Mapping[str, str]) -> str | None:
    """Return the kind that the metadata facesmith writes declare, None without such metadata."""
    contract = metadata.get("contract")
    kinds = {contract: kind for kind, contract in CONTRACTS.items()}
    return kinds.get(contract, "facesmith") if contract else None


def _converting(
    graph: OnnxGraph, info: SwapperInfo, converter: Path | None, raw_length: float, key: str
) -> dict[str, Any]:
    """Return the fields of the converter, which only some kinds need."""
    if info.takes_source and info.source_encoding in ("converter", "unit_converter"):
        if converter is None:
            raise UserError(f"{key}: {graph.path} ({info.kind}) needs one; give {key}=crossface_{info.kind}.onnx")
        return {"converter": converter, "raw_length": raw_length}
    if converter is not None:
        raise UserError(f"{key}={converter}: {graph.path} ({info.kind}) takes none; omit {key}")
    return {}


def _check_own(info: SwapperInfo, graph: OnnxGraph) -> None:
    """Check a graph of facesmith against its metadata."""
    size = info.size
    inputs: dict[str, Sequence[int]] = {TARGET: (3, size, size)}
    if info.embedding_size is not None:
        inputs[SOURCE] = (info.embedding_size,)
    optional: dict[str, Sequence[int]] = {LANDMARKS: (topology.LANDMARKS, 3)} if info.takes_landmarks else {}
    outputs: dict[str, Sequence[int]] = {OUTPUT: (3, size, size), MASK: (1, size, size)}
    takes = {name: value for name, value in graph.optional.items() if name in optional}
    for kind, wanted, given in (
        ("input", inputs, graph.inputs),
        ("optional input", optional, takes),
        ("output", outputs, graph.outputs),
    ):
        if set(given) != set(wanted):
            raise UserError(
                f"{graph}: wrong contract: its {kind}s are {_names(given)}, not {_names(wanted)}; export it again"
            )
        for name, shape in wanted.items():
            if given[name].type != "tensor(float)" or given[name].shape[1:] != tuple(shape):
                raise UserError(
                    f"{graph}: wrong contract: {kind} {name} is {given[name]}, not "
                    f"tensor(float) {'x'.join(str(step) for step in ['N', *shape])}; export it again"
                )


def _names(values: Mapping[str, Any]) -> str:
    return ", ".join(sorted(values)) or "none"


def _describe_dfm(graph: OnnxGraph) -> SwapperInfo:
    """Describe a `.dfm`: (N,S,S,3) BGR 0..1 in; mask of the target, face, mask of the source out, by position."""
    if DFM_INPUT not in graph.inputs or set(graph.inputs) - {DFM_INPUT, DFM_MORPH}:
        raise UserError(f"{graph}: wrong contract: its inputs are {', '.join(graph.inputs)}, not {DFM_INPUT} (dfm)")
    given = graph.inputs[DFM_INPUT]
    size = given.shape[1] if len(given.shape) == 4 else None
    if not isinstance(size, int) or not given.fits(None, size, size, 3) or given.shape[2] != size:
        raise UserError(f"{graph}: wrong contract: {DFM_INPUT} is {given}, not tensor(float) NxSxSx3 (dfm)")
    if len(graph.outputs) != 3:
        raise UserError(f"{graph}: wrong contract: it has {len(graph.outputs)} outputs, not mask, face, mask (dfm)")
    target_mask, face, source_mask = graph.outputs
    morph = DFM_MORPH if DFM_MORPH in graph.inputs else None
    tensors = replace(DFM_LAYOUT, morph=morph, output=face, masks=(target_mask, source_mask))
    return SwapperInfo(DFM_TEMPLATE, size, kind="dfm", tensors=tensors, **_baked_identity(graph))


def _describe_foreign(graph: OnnxGraph, kind: str, key: str) -> SwapperInfo:
    info = _of_size(graph, FOREIGN[kind])
    _check_foreign(graph, info, key)
    mask = graph.outputs.get(MASK)
    masks = (MASK,) if mask is not None and mask.fits(None, 1, info.size, info.size) else ()
    info = replace(info, tensors=replace(info.tensors, output=next(iter(graph.outputs)), masks=masks))
    # Of the embedding kinds FaceFusion feeds `source` only where the graph asks for it.
    if SOURCE in graph.inputs:
        return info
    return replace(info, embedding_size=None, **_baked_identity(graph))


def _of_size(graph: OnnxGraph, infos: Sequence[SwapperInfo]) -> SwapperInfo:
    """Return the description of the file's size, or of the kind's usual size where the file leaves it free."""
    shape = graph.inputs[TARGET].shape if TARGET in graph.inputs else ()
    return next((info for info in infos if len(shape) == 4 and shape[2] == info.size), infos[0])


def _check_foreign(graph: OnnxGraph, info: SwapperInfo, key: str) -> None:
    allowed = {TARGET, SOURCE}
    if TARGET not in graph.inputs or set(graph.inputs) - allowed or (info.photo and SOURCE not in graph.inputs):
        raise UserError(
            f"{graph}: wrong contract: its inputs are {', '.join(graph.inputs) or 'none'}, not source, target "
            f"({info.kind}); choose another {key}"
        )
    wanted: dict[str, tuple[int | None, ...]] = {TARGET: (None, 3, info.size, info.size)}
    if SOURCE in graph.inputs:
        wanted[SOURCE] = (None, 3, info.photo[1], info.photo[1]) if info.photo else (None, ARCFACE_SIZE)
    for name, sizes in wanted.items():
        value = graph.inputs[name]
        if not value.fits(*sizes):
            shape = "x".join("N" if step is None else str(step) for step in sizes)
            raise UserError(
                f"{graph}: wrong contract: input {name} is {value}, not tensor(float) {shape} ({info.kind}); "
                f"choose another {key}"
            )


def _baked_identity(graph: OnnxGraph) -> dict[str, Any]:
    """Return the fields of the person whose face the file holds; another project's file is called by its name."""
    metadata = graph.metadata
    require_current(metadata.get("expires"), graph, metadata.get("identity"))
    return {
        "embedder": metadata.get("embedder", ""),
        "identity": metadata.get("identity", graph.path.stem),
        "consent": metadata.get("consent", ""),
        "consent_note": metadata.get("consent_note", ""),
        "expires": metadata.get("expires", ""),
        "face_set": metadata.get("face_set", ""),
    }
