"""How the frozen weights are kept: as they are computed with, or smaller."""

import hashlib
import importlib
import importlib.util
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import nn

from facesmith import assets
from facesmith.errors import UserError

Storage = Literal["as_computed", "float8", "int8", "nf4"]

# bytes a weight, with what scales it
_BYTES: Final[dict[Storage, float]] = {"float8": 1.0, "int8": 1.02, "nf4": 0.57}
_LIBRARY: Final = {"int8": "torchao", "nf4": "bitsandbytes"}
_CAST_NEVER: Final = ("pos_embed", "patch_embed", "norm", "^proj_in$", "^proj_out$")  # diffusers' own, and the model's
_KEPT: Final = ["condition_embedder", "proj_out"]  # a small share of the weights, and the most easily hurt


def bytes_a_weight(storage: Storage, dtype: torch.dtype) -> float:
    """Return the bytes that a frozen weight takes."""
    return _BYTES.get(storage, float(dtype.itemsize))


def quantisation(storage: Storage, dtype: torch.dtype) -> Any:
    """Return what diffusers' `from_pretrained` takes as `quantization_config`; None where weights are read as they are.

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


TRANSFORMER: Final = "WanVACETransformer3DModel"
_PARTS: Final = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
_CODEC: Final = "facesmith.methods.video_lora.toy_wan.codec"
# the classes that a base's model_index.json may name, and where they are; what else it says is not imported
_CLASSES: Final = {
    "transformer": {TRANSFORMER: "diffusers"},
    "vae": {"AutoencoderKLWan": "diffusers", "BlockVideoCodec": _CODEC},
    "text_encoder": {"UMT5EncoderModel": "transformers", "T5EncoderModel": "transformers"},
    "scheduler": {
        "DPMSolverMultistepScheduler": "diffusers",
        "FlowMatchEulerDiscreteScheduler": "diffusers",
        "FlowMatchHeunDiscreteScheduler": "diffusers",
        "UniPCMultistepScheduler": "diffusers",
    },
}
_SAMPLE: Final = 1 << 16  # bytes hashed out of every _STRIDE of a weight file
_STRIDE: Final = 1 << 26


@dataclass(frozen=True)
class Base:
    """A pipeline folder. name: as the user gave it; parts are loaded when asked for and belong to the caller."""

    name: str
    folder: Path

    @cached_property
    def transformer_config(self) -> dict[str, Any]:
        """Return the transformer's config.json."""
        return self._json("transformer/config.json")

    @cached_property
    def codec_config(self) -> dict[str, Any]:
        """Return the VAE's config.json."""
        return self._json("vae/config.json")

    @property
    def text_width(self) -> int:
        """Width of a text row."""
        return int(self.transformer_config["text_dim"])

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return int(self.transformer_config["in_channels"])

    @cached_property
    def _halvings(self) -> list[bool]:
        return list(self.codec_config.get("temperal_downsample") or (False, True, True))

    @property
    def side(self) -> int:
        """Pixels of a latent cell's side."""
        return int(2 ** len(self._halvings))

    @property
    def times(self) -> int:
        """Frames of a latent frame."""
        return int(2 ** sum(self._halvings))

    @property
    def multiple(self) -> int:
        """What heights and widths must be multiples of."""
        return self.side * int(self.transformer_config["patch_size"][1])

    @cached_property
    def fingerprint(self) -> str:
        """Return 16 hex digits of the transformer: its config and samples of its weight files."""
        return _fingerprint(self.folder / "transformer")

    @cached_property
    def codec_fingerprint(self) -> str:
        """Return 16 hex digits of the VAE."""
        return _fingerprint(self.folder / "vae")

    @cached_property
    def text_fingerprint(self) -> str:
        """Return 16 hex digits of tokenizer and text encoder."""
        return _fingerprint(self.folder / "text_encoder") + _fingerprint(self.folder / "tokenizer")

    def transformer(self, dtype: torch.dtype, kind: type | None = None, storage: Storage = "as_computed") -> Any:
        """Load the transformer, frozen, in eval mode. kind: a subclass of diffusers' to load it as."""
        chosen: Any = kind or self._class("transformer")
        smaller = quantisation(storage, dtype)
        given = {} if smaller is None else {"quantization_config": smaller}
        model = chosen.from_pretrained(self.folder / "transformer", torch_dtype=dtype, use_safetensors=True, **given)
        return with_float_rope(model).eval().requires_grad_(False)

    def bare_transformer(self, kind: type | None = None) -> Any:
        """Build the transformer without its weights, on the device `meta`: names and sizes of its layers."""
        config = {key: value for key, value in self.transformer_config.items() if not key.startswith("_")}
        chosen: Any = kind or self._class("transformer")
        with torch.device("meta"):
            return chosen.from_config(config).requires_grad_(False)

    def codec(self, dtype: torch.dtype = torch.float32) -> Any:
        """Load the VAE."""
        chosen = self._class("vae")
        model = chosen.from_pretrained(self.folder / "vae", torch_dtype=dtype, use_safetensors=True)
        return model.eval().requires_grad_(False)

    def tokenizer(self) -> Any:
        """Load the tokenizer."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder / "tokenizer", trust_remote_code=False)

    def text_encoder(self, dtype: torch.dtype = torch.float32) -> Any:
        """Load the text encoder."""
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        chosen = self._class("text_encoder")
        model = chosen.from_pretrained(self.folder / "text_encoder", dtype=dtype, use_safetensors=True)
        return model.eval().requires_grad_(False)

    def scheduler(self) -> Any:
        """Load the sampler's schedule."""
        return self._class("scheduler").from_pretrained(self.folder / "scheduler")

    def _class(self, part: str) -> Any:
        said = self._json("model_index.json").get(part)
        name = said[1] if isinstance(said, list) and len(said) == 2 else None
        library = _CLASSES[part].get(name) if isinstance(name, str) else None
        if library is None:
            raise UserError(
                f"model.base={self.name}: its {part} is {said}; model_index.json may name {', '.join(_CLASSES[part])}"
            )
        return getattr(importlib.import_module(library), str(name))

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(
                f"model.base={self.name}: {path} cannot be read ({error.strerror}); give a diffusers folder of Wan-VACE"
            ) from None
        except ValueError:
            raise UserError(f"model.base={self.name}: {path} is damaged; fetch the base again") from None
        return found


def open_base(name: str) -> Base:
    """Find a base: `asset:<name>`, a folder, or a hub id, which is downloaded once.

    Raises:
        UserError: there is none, or it is no Wan-VACE pipeline in diffusers' format.
    """
    folder = Path(assets.resolve(name)).expanduser()
    if not folder.is_dir():
        folder = _downloaded(name)
    base = Base(name, folder)
    missing = [part for part in _PARTS if not (folder / part).is_dir()]
    if not (folder / "model_index.json").is_file() or missing:
        what = f"lacks {', '.join(missing)}" if missing and len(missing) < len(_PARTS) else "is no diffusers pipeline"
        raise UserError(
            f"model.base={name}: {what}; give a folder or hub id in diffusers' format, such as "
            "Wan-AI/Wan2.1-VACE-1.3B-diffusers"
        )
    found = base.transformer_config.get("_class_name")
    if found != TRANSFORMER:
        raise UserError(
            f"model.base={name}: its transformer is a {found}, not a {TRANSFORMER}; pose videos need a VACE base, such "
            "as Wan-AI/Wan2.1-VACE-1.3B-diffusers"
        )
    return base


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UserError(f"model.base={name}: there is no such folder; give a diffusers folder of Wan-VACE, or a hub id")
    try:
        return Path(snapshot_download(name, allow_patterns=["model_index.json", *(f"{part}/*" for part in _PARTS)]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        why = " ".join(str(error).split())[:160]
        raise UserError(
            f"model.base={name}: is no folder, and the hub did not give it ({why}); download it elsewhere and give "
            "the folder"
        ) from None


def with_float_rope(transformer: nn.Module) -> Any:
    """Turn double-precision position tables into single ones: attention is then not computed in double."""
    rope: Any = transformer.rope
    rope.freqs_cos, rope.freqs_sin = rope.freqs_cos.float(), rope.freqs_sin.float()
    return transformer


def _fingerprint(folder: Path) -> str:
    """Hash a part's files: small ones whole, of large ones the size, the head and a sample of every 64 MB."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder)} {size} ".encode())
        with path.open("rb") as file:
            for start in range(0, size, _STRIDE):
                file.seek(start)
                digest.update(file.read(size if size <= _STRIDE else _SAMPLE))
    return digest.hexdigest()[:16]
