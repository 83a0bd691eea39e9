"""How the frozen weights are kept: as they are computed with, or smaller."""

import importlib.util
from typing import Any, Final, Literal

import torch

from facesmith.errors import UserError

Storage = Literal["as_computed", "float8", "int8", "nf4"]

# bytes a weight, with what scales it
_BYTES: Final[dict[Storage, float]] = {"float8": 1.0, "int8": 1.02, "nf4": 0.57}
_LIBRARY: Final = {"int8": "torchao", "nf4": "bitsandbytes"}
_CAST_NEVER: Final = ("pos_embed", "patch_embed", "norm", "^proj_in$", "^proj_out$")  # diffusers' own, and the model's
_KEPT: Final = ["condition_embedder", "proj_out"]  # a small share of the weights, and the most easily hurt


def bytes_a_weight(storage: Storage, dtype: torch.dtype) -> float:
    """Give the bytes that a frozen weight takes."""
    return _BYTES.get(storage, float(dtype.itemsize))


def quantisation(storage: Storage, dtype: torch.dtype) -> Any:
    """Give what diffusers' `from_pretrained` takes as `quantization_config`; None where weights are read as they are.

    Raises:
        UserError: a library or a GPU is missing.
    """
    if storage not in _LIBRARY:
        return None
    library = _LIBRARY[storage]
    if importlib.util.find_spec(library) is None:
        raise UserError(f"base_storage={storage}: needs {library}; pip install {library}, or use float8")
    if storage == "nf4":
        if not torch.cuda.is_available():
            raise UserError("base_storage=nf4: needs a CUDA GPU; use int8 here")
        from diffusers import BitsAndBytesConfig

        return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=_KEPT,
        )
    from diffusers import TorchAoConfig
    from torchao.quantization import Int8WeightOnlyConfig  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=_KEPT)  # type: ignore[no-untyped-call]


def keep_small(transformer: Any, storage: Storage, dtype: torch.dtype) -> None:
    """Cast what is kept in another type than it is computed with; after adapters are laid over it, which stay whole."""
    if storage == "float8":
        whole = [".lora_", r"\.processor\.", *_CAST_NEVER]
        transformer.enable_layerwise_casting(
            storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype, skip_modules_pattern=tuple(whole)
        )
