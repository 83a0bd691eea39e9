"""Wan-VACE's true layouts with random weights, a training step of them, and the memory that tensors take."""

import json
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from diffusers import WanVACETransformer3DModel
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from facesmith.methods.video_lora.base import Base, cast_rope_to_float
from facesmith.methods.video_lora.block_execution import detach_pose_branch
from facesmith.methods.video_lora.memory_estimate import AdapterSize, ClipShape, adapted_transformer
from facesmith.methods.video_lora.networks import SCALE, TOKENS

LAYOUTS: Final[dict[str, dict[str, Any]]] = {
    "1.3B": {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30, "vace_layers": list(range(0, 30, 2))},
    "14B": {"num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 40, "vace_layers": list(range(0, 40, 5))},
    "small": {
        **{"num_attention_heads": 12, "attention_head_dim": 64, "ffn_dim": 3072, "num_layers": 10},
        **{"vace_layers": [0, 5], "text_dim": 64, "freq_dim": 64},
    },
    "toy": {
        **{"num_attention_heads": 2, "attention_head_dim": 16, "ffn_dim": 64, "num_layers": 3, "vace_layers": [0, 2]},
        **{"text_dim": 16, "freq_dim": 16},
    },
}
TARGETS: Final = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")
RANK: Final = 64
TEXT_ROWS: Final = 512
FACE_ROWS: Final = 4
ADAPTER: Final = AdapterSize(RANK, TARGETS, vace_blocks=False, decoupled=False, mapper_weights=0)


class Inputs(NamedTuple):
    """Inputs of a step; `face` is given where blocks have an attention to it."""

    noisy: Tensor
    control: Tensor
    text: Tensor
    face: Tensor | None = None


def write_base(folder: Path, layout: str) -> Base:
    """Write the configurations of a base, without weights."""
    with torch.device("meta"):
        transformer = WanVACETransformer3DModel(**LAYOUTS[layout])
    for part in ("transformer", "vae"):
        (folder / part).mkdir(parents=True)
    transformer.save_config(folder / "transformer")
    (folder / "vae" / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKLWan", "base_dim": 96}))
    return Base(layout, folder)


def random_transformer(
    base: Base, dtype: torch.dtype, device: torch.device, *, adapter: AdapterSize | None = ADAPTER
) -> Any:
    """Return a frozen transformer of random weights, in the types in which diffusers loads it, with what is trained.

    In a `FakeTensorMode` the weights take no memory.
    """
    transformer = adapted_transformer(base, adapter)
    if adapter is not None and not adapter.pose_gradients:
        detach_pose_branch(transformer)
    single = set(WanVACETransformer3DModel._keep_in_fp32_modules or ())
    for place, layer in transformer.named_modules():
        for name, weight in list(layer.named_parameters(recurse=False)):
            precise = weight.requires_grad or bool(single & {*place.split("."), name})
            made = torch.empty(weight.shape, dtype=torch.float32 if precise else dtype, device=device).normal_(std=0.02)
            setattr(layer, name, nn.Parameter(made, requires_grad=weight.requires_grad))
    config = base.transformer_config
    transformer.rope = WanRotaryPosEmbed(config["attention_head_dim"], config["patch_size"], config["rope_max_seq_len"])
    cast_rope_to_float(transformer)
    for name, table in list(transformer.rope.named_buffers()):
        transformer.rope.register_buffer(name, table.to(device), persistent=False)
    return transformer.train()


def random_inputs(
    base: Base, shape: ClipShape, dtype: torch.dtype, device: torch.device, adapter: AdapterSize = ADAPTER
) -> Inputs:
    """Return noise in the place of a clip, its control, its prompt and its face; what holds the face has gradients."""
    cells = (
        (shape.frames - 1) // base.temporal_compression + 1 + shape.photos,
        shape.height // base.spatial_compression,
        shape.width // base.spatial_compression,
    )
    given = {"dtype": dtype, "device": device}
    face = torch.randn(shape.batch, FACE_ROWS, base.text_width, **given).requires_grad_() if adapter.decoupled else None
    return Inputs(
        torch.randn(shape.batch, 16, *cells, **given),
        torch.randn(shape.batch, 96, *cells, **given),
        torch.randn(shape.batch, TEXT_ROWS, base.text_width, **given).requires_grad_(not adapter.decoupled),
        face,
    )


def compute(transformer: Any, inputs: Inputs) -> Tensor:
    """Return the transformer's answer."""
    noisy, control, text, face = inputs
    scale = torch.ones(len(noisy), device=noisy.device)
    found: Tensor = transformer(
        hidden_states=noisy,
        timestep=torch.full((len(noisy),), 500.0, device=noisy.device),
        encoder_hidden_states=text,
        control_hidden_states=control,
        attention_kwargs=None if face is None else {TOKENS: face, SCALE: scale},
        return_dict=False,
    )[0]
    return found


class TensorMemory(TorchDispatchMode):
    """Counts the bytes of all tensors that there are while it is on; `peak` is the most there were at a time.

    Args:
        present: Tensors that are there already.
        elsewhere: Tensors that are never counted.
    """

    def __init__(self, present: Iterable[Tensor] = (), elsewhere: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self._known = weakref.WeakSet(tensor.untyped_storage() for tensor in elsewhere)
        self.now = self.peak = 0
        for tensor in present:
            self._add(tensor.untyped_storage())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return found

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._known:
            self._known.add(storage)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._remove, storage.nbytes())

    def _remove(self, size: int) -> None:
        self.now -= size
