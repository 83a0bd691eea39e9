"""Load a swapper for use, ours or a foreign one, from ONNX, .dfm or a checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facesmith.errors import UserError
from facesmith.models.adapters.choice import Choice
from facesmith.models.onnx.aligned_session import Floats, Pixels, SwapModel, finished
from facesmith.models.onnx.contract import MASK, OUTPUT, SOURCE, TARGET, SwapperContract
from facesmith.models.onnx.dfm_session import load_dfm
from facesmith.models.onnx.foreign_session import load_foreign
from facesmith.models.onnx.graph import OnnxGraph
from facesmith.models.onnx.graph_checks import check_own
from facesmith.models.onnx.kinds import kind_of

__all__ = ["SwapModel", "load_swap_model"]


def load_swap_model(
    path: Path,
    *,
    model_type: str = "auto",
    converter: Path | None = None,
    raw_length: float = 1.0,
    morph: float = 1.0,
    threads: int = 1,
    adapters: Choice | None = None,
) -> SwapModel:
    """Load a swapper of facesmith (.onnx, or .ckpt, which imports torch), a foreign one (.onnx) or a .dfm.

    model_type: `auto`, which believes the file's own metadata, then its suffix and name; `facesmith`, `dfm` or a
    key of `TYPES`. converter, raw_length: see `load_foreign`. morph: see `load_dfm`. threads: of one call.
    adapters: merged into the model, which imports torch; the file stays as it is.

    Raises:
        UserError: missing, of another suffix, unreadable, or not a swapper by contract; says what is wrong. An adapter
            was made for another model.
    """
    if not path.is_file():
        raise UserError(f"model={path}: no such file; give a swapper made by export.py (.onnx) or train.py (.ckpt)")
    if path.suffix == ".ckpt":
        if model_type not in ("auto", "facesmith"):
            raise UserError(
                f"task.model_type={model_type}: {path} is a checkpoint of facesmith; leave task.model_type out"
            )
        return _load_checkpoint(path, adapters)
    if path.suffix not in (".onnx", ".dfm"):
        raise UserError(f"model={path}: neither .onnx nor .dfm nor .ckpt; give a swapper made by export.py or train.py")
    graph = OnnxGraph(path, "model", threads)
    name = kind_of(path, graph.metadata, graph.inputs, chosen=model_type, key="task.model_type", origin=graph)
    if converter is not None and name in ("facesmith", "dfm"):
        raise UserError(f"task.converter={converter}: {path} ({name}) takes none; leave task.converter out")
    if adapters is not None:
        from facesmith.models.adapters.merged_file import merged_file

        graph = OnnxGraph(path, "model", threads, merged_file(path, adapters).model.SerializeToString())
    if name == "facesmith":
        return _load_own(graph)
    if name == "dfm":
        return load_dfm(graph, morph=morph)
    return load_foreign(graph, name, converter=converter, raw_length=raw_length)


def _load_own(graph: OnnxGraph) -> SwapModel:
    contract = SwapperContract.read(graph.metadata, graph)
    check_own(contract, graph)

    def run(feed: dict[str, Floats]) -> Sequence[Floats]:
        return graph.run(feed, [OUTPUT, MASK])

    return _own(contract, run)


def _load_checkpoint(path: Path, adapters: Choice | None) -> SwapModel:
    import torch

    from facesmith.models.adapters.exporting import adapted
    from facesmith.models.checkpoint import load_module
    from facesmith.training.callbacks.protocols import Exports

    module = load_module(path)
    if not isinstance(module, Exports):
        raise UserError(f"model={path}: holds a {type(module).__name__}, not a swapper; give a swapper's checkpoint")
    spec = module.export_spec()
    contract = SwapperContract.read(spec.metadata, path)
    network = (spec if adapters is None else adapted(spec, adapters, path)).module.eval()

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
