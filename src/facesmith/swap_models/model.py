"""Load a swapper for use, ours or a foreign one, from ONNX, .dfm or a checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facesmith.errors import UserError
from facesmith.model_files.contract import CONTRACTS, MASK, OUTPUT, SOURCE, TARGET, SwapperContract
from facesmith.model_files.types import TYPES
from facesmith.onnx_graph import OnnxGraph
from facesmith.swap_models.aligned import Floats, Pixels, SwapModel, finished
from facesmith.swap_models.dfm import FACE_IN, load_dfm
from facesmith.swap_models.foreign import load_foreign

__all__ = ["SwapModel", "load_swap_model"]


def load_swap_model(
    path: Path,
    *,
    model_type: str = "auto",
    converter: Path | None = None,
    raw_length: float = 1.0,
    morph: float = 1.0,
    threads: int = 1,
) -> SwapModel:
    """Load a swapper of facesmith (.onnx, or .ckpt, which imports torch), a foreign one (.onnx) or a .dfm.

    model_type: `auto`, which believes the file's own metadata, then its suffix and name; `facesmith`, `dfm` or a
    key of `TYPES`. converter, raw_length: see `load_foreign`. morph: see `load_dfm`. threads: of one call.

    Raises:
        UserError: missing, of another suffix, unreadable, or not a swapper by contract; says what is wrong.
    """
    if not path.is_file():
        raise UserError(f"model={path}: no such file; give a swapper made by export.py (.onnx) or train.py (.ckpt)")
    if path.suffix == ".ckpt":
        if model_type not in ("auto", "facesmith"):
            raise UserError(
                f"task.model_type={model_type}: {path} is a checkpoint of facesmith; leave task.model_type out"
            )
        return _load_checkpoint(path)
    if path.suffix not in (".onnx", ".dfm"):
        raise UserError(f"model={path}: neither .onnx nor .dfm nor .ckpt; give a swapper made by export.py or train.py")
    graph = OnnxGraph(path, "model", threads)
    said = _said_type(graph)
    if model_type != "auto" and said not in (None, model_type):
        raise UserError(f"task.model_type={model_type}: {path} says that it is {said}; leave task.model_type out")
    name = said or (_likely_type(graph) if model_type == "auto" else model_type)
    if converter is not None and name in ("facesmith", "dfm"):
        raise UserError(f"task.converter={converter}: {path} ({name}) takes none; leave task.converter out")
    if name == "facesmith":
        return _load_own(graph)
    if name == "dfm":
        return load_dfm(graph, morph=morph)
    return load_foreign(graph, name, converter=converter, raw_length=raw_length)


def _said_type(graph: OnnxGraph) -> str | None:
    """What the file says it is, in the metadata that facesmith writes."""
    said = graph.metadata.get("contract")
    known = {contract: name for name, contract in CONTRACTS.items()}
    return known.get(said, "facesmith") if said else None


def _likely_type(graph: OnnxGraph) -> str:
    if graph.path.suffix == ".dfm" or FACE_IN in graph.inputs:
        return "dfm"
    named = [name for name in TYPES if name in graph.path.stem.lower()]
    if len(named) == 1:
        return named[0]
    raise UserError(
        f"{graph}: it carries no contract and its name tells no type; "
        f"give task.model_type=facesmith, dfm, {', '.join(list(TYPES)[:-1])} or {list(TYPES)[-1]}"
    )


def _load_own(graph: OnnxGraph) -> SwapModel:
    contract = SwapperContract.read(graph.metadata, graph)
    _check_graph(contract, graph)

    def run(feed: dict[str, Floats]) -> Sequence[Floats]:
        return graph.run(feed, [OUTPUT, MASK])

    return _own(contract, run)


def _load_checkpoint(path: Path) -> SwapModel:
    import torch

    from facesmith.callbacks.protocols import Exports
    from facesmith.training.checkpoint import load_module

    module = load_module(path)
    if not isinstance(module, Exports):
        raise UserError(f"model={path}: holds a {type(module).__name__}, not a swapper; give a swapper's checkpoint")
    spec = module.export_spec()
    contract = SwapperContract.read(spec.metadata, path)
    network = spec.module.eval()

    def run(feed: dict[str, Floats]) -> Sequence[Floats]:
        with torch.inference_mode():
            return [each.numpy() for each in network(*(torch.from_numpy(feed[name]) for name in spec.inputs))]

    return _own(contract, run)


def _own(contract: SwapperContract, network: Any) -> SwapModel:
    """A swapper that keeps facesmith's own contract, whatever runs it."""

    def run(crops: Pixels, source: Floats | None) -> tuple[Pixels, Floats]:
        target = crops.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - np.float32(1)
        feed = {TARGET: np.ascontiguousarray(target)}
        if source is not None:
            feed[SOURCE] = np.ascontiguousarray(np.broadcast_to(source, (len(crops), source.shape[-1])), np.float32)
        output, mask = network(feed)
        return finished((output + 1) * 127.5), mask[:, 0]

    baked = contract.embedding_size is None
    return SwapModel(
        contract.template,
        contract.size,
        run,
        embedder=contract.embedder,
        embedding_size=contract.embedding_size,
        identity=contract.identity if baked else "",
        consent=contract.consent if baked else "",
        consent_note=contract.consent_note if baked else "",
        contract=contract,
    )


def _check_graph(contract: SwapperContract, graph: OnnxGraph) -> None:
    side = contract.size
    inputs: dict[str, Sequence[int]] = {TARGET: (3, side, side)}
    if contract.embedding_size is not None:
        inputs[SOURCE] = (contract.embedding_size,)
    outputs: dict[str, Sequence[int]] = {OUTPUT: (3, side, side), MASK: (1, side, side)}
    for kind, wanted, given in (("input", inputs, graph.inputs), ("output", outputs, graph.outputs)):
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


def _names(values: dict[str, Any]) -> str:
    return ", ".join(sorted(values)) or "none"
