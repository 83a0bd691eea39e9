"""Whether a graph has the inputs and outputs of the contract it is taken for."""

from collections.abc import Mapping, Sequence
from typing import Any

from facesmith.errors import UserError
from facesmith.models.onnx.contract import MASK, OUTPUT, SOURCE, TARGET, SwapperContract
from facesmith.models.onnx.graph import OnnxGraph
from facesmith.models.onnx.kinds import DFM_INPUT, DFM_MORPH


def check_own(contract: SwapperContract, graph: OnnxGraph) -> None:
    """Hold a graph of facesmith against what it says of itself.

    Raises:
        UserError: another input or output; says which.
    """
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


def _names(values: Mapping[str, Any]) -> str:
    return ", ".join(sorted(values)) or "none"


def dfm_size(graph: OnnxGraph) -> int:
    """Give the side of a `.dfm`'s crops in px.

    Raises:
        UserError: the graph is no `.dfm`; says why.
    """
    if DFM_INPUT not in graph.inputs or set(graph.inputs) - {DFM_INPUT, DFM_MORPH}:
        raise UserError(f"{graph}: wrong contract: its inputs are {', '.join(graph.inputs)}, not {DFM_INPUT} (dfm)")
    given = graph.inputs[DFM_INPUT]
    side = given.shape[1] if len(given.shape) == 4 else None
    if not isinstance(side, int) or not given.fits(None, side, side, 3) or given.shape[2] != side:
        raise UserError(f"{graph}: wrong contract: {DFM_INPUT} is {given}, not tensor(float) NxSxSx3 (dfm)")
    if len(graph.outputs) != 3:
        raise UserError(f"{graph}: wrong contract: it has {len(graph.outputs)} outputs, not mask, face, mask (dfm)")
    return side
