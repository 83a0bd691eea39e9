"""Blocks whose frozen weights wait in CPU memory and are fetched while the transformer computes (block swap).

diffusers' group offloading does the same for inference. In training with gradient checkpointing it leaves blocks on the
device (a recomputation stops early, and skips the hook that would send them back), moves the trained weights away from
their gradients, and prefetches in the order of the forward pass alone.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class _Place(NamedTuple):
    """A layer and the name of one of its weights."""

    layer: nn.Module
    name: str


class _Fetched(NamedTuple):
    """A block's weights on the device; `ready` is recorded when the copy to a GPU is complete."""

    number: int
    weights: list[Tensor]
    ready: torch.cuda.Event | None


class BlockStream:
    """Keeps the frozen weights of blocks in CPU memory, and at most two blocks' on the device that computes.

    While a block computes, the next one's weights are copied, on a GPU by a stream of their own out of pinned memory.
    In the backward pass, in which checkpointing computes the blocks again from the last to the first, that is the block
    before. Trained weights stay where they are. Weights that wait are no parameters of the module, so that moving it to
    a device leaves them behind.

    Args:
        blocks: In the order in which they compute.
    """

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        self._places: list[list[_Place]] = []
        self._waiting: list[list[Tensor]] = []
        self._ahead: _Fetched | None = None
        self._last, self._direction = -1, 1
        self._side: torch.cuda.Stream | None = None
        for number, block in enumerate(blocks):
            places = [
                _Place(layer, name)
                for layer in block.modules()
                for name, weight in layer.named_parameters(recurse=False)
                if not weight.requires_grad
            ]
            self._places.append(places)
            self._waiting.append([_set_aside(place) for place in places])
            block.register_forward_pre_hook(partial(self._enter, number))
            block.register_forward_hook(partial(self._leave, number), always_call=True)

    def _enter(self, number: int, block: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Give a block its weights, and begin to fetch those of the block that comes next."""
        device = inputs[0].device
        # The last block once more: the backward pass begins. The first one once more: the next forward pass.
        self._direction = (number > self._last) - (number < self._last) or -self._direction
        self._last = number
        for place, weight in zip(self._places[number], self._take(number, device), strict=True):
            setattr(*place, nn.Parameter(weight, requires_grad=False))
        following = number + self._direction
        if 0 <= following < len(self._waiting):
            self._ahead = self._fetch(following, device)

    def _leave(self, number: int, block: nn.Module, inputs: Any, output: Any) -> None:
        """Take a block's weights away; autograd holds on to those that its backward pass still needs."""
        for place in self._places[number]:
            setattr(*place, None)

    def _take(self, number: int, device: torch.device) -> list[Tensor]:
        """Return a block's weights, fetched ahead or now, once the stream that computes may read them."""
        fetched, self._ahead = self._ahead, None
        _await(fetched)  # also if it is another block's: its memory is used again by the stream that computes
        if fetched is None or fetched.number != number or fetched.weights[0].device != device:
            del fetched
            fetched = self._fetch(number, device)
            _await(fetched)
        return fetched.weights

    def _fetch(self, number: int, device: torch.device) -> _Fetched:
        """Begin to copy a block's weights to a device."""
        waiting = self._waiting[number]
        # On a GPU allocated by the stream that computes, whose memory is then freed and used again in order.
        weights = [torch.empty_like(weight, device=device) for weight in waiting]
        if device.type != "cuda":
            for weight, source in zip(weights, waiting, strict=True):
                weight.copy_(source)
            return _Fetched(number, weights, None)
        side = self._side = self._side or torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for weight, source in zip(weights, waiting, strict=True):
                weight.copy_(source, non_blocking=True)
        return _Fetched(number, weights, side.record_event())


def stream_blocks(transformer: Any) -> BlockStream:
    """Let the blocks of a Wan-VACE transformer wait in CPU memory; those that follow the poses compute first.

    Args:
        transformer: Of the base, on the CPU, its adapters already added and its trained weights marked; changed in
            place.
    """
    return BlockStream([*transformer.vace_blocks, *transformer.blocks])


def _set_aside(place: _Place) -> Tensor:
    """Take a weight out of its layer; return it, in pinned memory where there is a GPU."""
    weight: Tensor = getattr(*place).data
    setattr(*place, None)
    return weight.pin_memory() if weight.device.type == "cpu" and torch.cuda.is_available() else weight


def _await(fetched: _Fetched | None) -> None:
    """Let the stream that computes wait for a copy."""
    if fetched is not None and fetched.ready is not None:
        torch.cuda.current_stream(fetched.weights[0].device).wait_event(fetched.ready)
