"""Number types of frozen weights: what they compute in, the precision that goes with it, and storage in fewer bits."""

import importlib.util
from typing import Any, Final, Literal

import torch

from facesmith.errors import UserError

Storage = Literal["as_computed", "float8", "int8", "nf4"]

# bytes per weight, scales included
_BYTES: Final[dict[Storage, float]] = {"float8": 1.0, "int8": 1.02, "nf4": 0.57}
_MIXED: Final = {torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}  # autocast in a base's own type
_LIBRARY: Final = {"int8": "torchao", "nf4": "bitsandbytes"}
_NEVER_CAST: Final = ("pos_embed", "patch_embed", "norm", "^proj_in$", "^proj_out$")  # diffusers' own, and the model's
_NOT_QUANTIZED: Final = ["condition_embedder", "proj_out"]  # a small share of the weights, and the most easily hurt


def compute_dtype(chosen: str) -> torch.dtype:
    """Resolve a type's name; `auto` is bfloat16 on a GPU that has units for it, float32 elsewhere."""
    if chosen == "auto":
        gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if gpu else torch.float32
    found: torch.dtype = getattr(torch, chosen)
    return found


def check_precision(precision: str, base_dtype: str) -> None:
    """Check that the trainer's precision and the type of the base can be combined.

    Autocast in another half precision than the base's rounds every weight a second time; in float16 over bfloat16 it
    overflows. A `true` precision converts the LoRA as well, whose steps are then rounded away.

    Args:
        precision: Lightning's, such as `bf16-mixed`.
        base_dtype: Name of the type that the base computes in, or `auto`.

    Raises:
        UserError: they cannot; names the setting to change.
    """
    dtype = compute_dtype(base_dtype)
    key = f"model.base_dtype={base_dtype}" + (f" (here {_name(dtype)})" if base_dtype == "auto" else "")
    if precision in ("bf16-true", "64-true"):
        raise UserError(
            f"trainer.precision={precision}: would convert the LoRA as well as the base, whose type model.base_dtype "
            f"chooses; set trainer.precision={_MIXED.get(dtype, '32-true')}"
        )
    if precision in _MIXED.values() and dtype != torch.float32 and precision != _MIXED[dtype]:
        raise UserError(
            f"trainer.precision={precision}: does not go with {key}, whose weights it would convert to another half "
            f"precision; set trainer.precision={_MIXED[dtype]}"
        )


def check_optimizer(kind: str) -> None:
    """Check that the library of an optimiser is installed.

    Args:
        kind: `adamw` or `adamw_8bit`.

    Raises:
        UserError: it is not.
    """
    if kind == "adamw_8bit" and importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "model.optimizer.kind=adamw_8bit: needs bitsandbytes and a CUDA GPU; pip install bitsandbytes, or use adamw"
        )


def quantization_config(storage: Storage, dtype: torch.dtype) -> Any:
    """Build the `quantization_config` of diffusers' `from_pretrained`.

    Args:
        storage: Type that the frozen weights are stored in.
        dtype: Type that the model computes in.

    Returns:
        The configuration; None where weights are read as they are, `float8` included.

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

        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=_NOT_QUANTIZED,
        )
    from diffusers import TorchAoConfig
    from torchao.quantization import Int8WeightOnlyConfig

    return TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=_NOT_QUANTIZED)


def enable_storage_casting(transformer: Any, storage: Storage, dtype: torch.dtype) -> None:
    """Store weights as float8 where asked, and cast them layer by layer when they are used.

    Args:
        transformer: Of diffusers, its adapters already loaded: these are not cast.
        storage: Type that the frozen weights are stored in; nothing happens unless it is `float8`.
        dtype: Type that the transformer computes in.
    """
    if storage == "float8":
        skipped = [".lora_", r"\.processor\.", *_NEVER_CAST]
        transformer.enable_layerwise_casting(
            storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype, skip_modules_pattern=tuple(skipped)
        )


def bytes_per_weight(storage: Storage, dtype: torch.dtype) -> float:
    """Return the bytes that a frozen weight takes, scales included.

    Args:
        storage: Type that it is stored in.
        dtype: Type that the model computes in.
    """
    return _BYTES.get(storage, float(dtype.itemsize))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
