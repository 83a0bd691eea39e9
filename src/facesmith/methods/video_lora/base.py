"""The frozen Wan-VACE pipeline that everything is trained on: found, identified, and loaded part by part."""

import hashlib
import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from torch import nn

from facesmith import assets
from facesmith.errors import UserError, is_disk_full
from facesmith.methods.video_lora.quantization import Storage, quantization_config

TRANSFORMER: Final = "WanVACETransformer3DModel"
_PARTS: Final = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
_TOY_CODEC: Final = "facesmith.methods.video_lora.toy_wan.codec"
# Classes that a base's model_index.json may name, and the modules that define them here; the module that a file
# names is never imported, so bases saved by earlier versions, which name another module of the toy codec, still open.
_CLASSES: Final = {
    "transformer": {TRANSFORMER: "diffusers"},
    "vae": {"AutoencoderKLWan": "diffusers", "BlockVideoCodec": _TOY_CODEC},
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


def open_base(name: str, setting: str = "model.base") -> "Base":
    """Find a base; nothing is loaded yet.

    Args:
        name: `asset:<name>`, a folder, or a hub id, which is downloaded once.
        setting: Key that an error names.

    Raises:
        UserError: there is none, or it is no Wan-VACE pipeline in diffusers' format.
    """
    folder = Path(assets.resolve(name)).expanduser()
    if not folder.is_dir():
        folder = _download(name, setting)
    base = Base(name, folder, setting)
    missing = [part for part in _PARTS if not (folder / part).is_dir()]
    if not (folder / "model_index.json").is_file() or missing:
        what = f"lacks {', '.join(missing)}" if missing and len(missing) < len(_PARTS) else "is no diffusers pipeline"
        raise UserError(
            f"{setting}={name}: {what}; give a folder or hub id in diffusers' format, such as "
            "Wan-AI/Wan2.1-VACE-1.3B-diffusers"
        )
    if (folder / "transformer_2").is_dir():
        raise UserError(
            f"{setting}={name}: has two transformers, one for high and one for low noise (Wan2.2), which cannot be "
            "used; give a base with one, such as Wan-AI/Wan2.1-VACE-1.3B-diffusers"
        )
    found = base.transformer_config.get("_class_name")
    if found != TRANSFORMER:
        raise UserError(
            f"{setting}={name}: its transformer is a {found}, not a {TRANSFORMER}; pose videos need a VACE base, such "
            "as Wan-AI/Wan2.1-VACE-1.3B-diffusers"
        )
    return base


@dataclass(frozen=True)
class Base:
    """A Wan-VACE pipeline folder. Each `load_*` loads a part anew; the caller owns it.

    Attributes:
        name: As the user gave it.
        folder: Where `model_index.json` lies.
        setting: Key that errors name.
    """

    name: str
    folder: Path
    setting: str = "model.base"

    @cached_property
    def transformer_config(self) -> dict[str, Any]:
        """The transformer's config.json."""
        return self._read_json("transformer/config.json")

    @cached_property
    def vae_config(self) -> dict[str, Any]:
        """The VAE's config.json."""
        return self._read_json("vae/config.json")

    @property
    def text_width(self) -> int:
        """Width of a row of encoded text."""
        return self._size("text_dim")

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return self._size("in_channels")

    @cached_property
    def _temporal_downsample(self) -> list[bool]:
        return list(self.vae_config.get("temperal_downsample") or (False, True, True))

    @property
    def spatial_compression(self) -> int:
        """Pixels of a latent cell's side."""
        return int(2 ** len(self._temporal_downsample))

    @property
    def temporal_compression(self) -> int:
        """Frames of a latent frame."""
        return int(2 ** sum(self._temporal_downsample))

    @property
    def size_multiple(self) -> int:
        """Number of px that heights and widths must be multiples of."""
        return self.spatial_compression * self._size("patch_size", 1)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the transformer: its config and samples of its weight files."""
        return _hash_folder(self.folder / "transformer")

    @cached_property
    def vae_fingerprint(self) -> str:
        """16 hex digits of the VAE."""
        return _hash_folder(self.folder / "vae")

    @cached_property
    def text_fingerprint(self) -> str:
        """32 hex digits of text encoder and tokenizer."""
        return _hash_folder(self.folder / "text_encoder") + _hash_folder(self.folder / "tokenizer")

    def load_transformer(self, dtype: torch.dtype, kind: type | None = None, storage: Storage = "as_computed") -> Any:
        """Load the transformer, frozen, in eval mode.

        Args:
            dtype: Type that it computes in.
            kind: Subclass of diffusers' class to load it as; None: the base's own class.
            storage: Type that its weights are stored in; `float8` needs `enable_storage_casting` as well.

        Raises:
            UserError: a library or a GPU that `storage` needs is missing.
        """
        chosen: Any = kind or self._class("transformer")
        quantization = quantization_config(storage, dtype)
        options = {} if quantization is None else {"quantization_config": quantization}
        with self._loading("transformer"):
            place = self.folder / "transformer"
            model = chosen.from_pretrained(place, torch_dtype=dtype, use_safetensors=True, **options)
        return cast_rope_to_float(model).eval().requires_grad_(False)

    def empty_transformer(self, kind: type | None = None) -> Any:
        """Build the transformer without its weights, on the device `meta`: names and sizes of its layers.

        Args:
            kind: Subclass of diffusers' class to build; None: the base's own class.
        """
        config = {key: value for key, value in self.transformer_config.items() if not key.startswith("_")}
        chosen: Any = kind or self._class("transformer")
        with self._loading("transformer"), torch.device("meta"):
            return chosen.from_config(config).requires_grad_(False)

    def load_vae(self, dtype: torch.dtype = torch.float32) -> Any:
        """Load the VAE, frozen, in eval mode."""
        chosen = self._class("vae")
        with self._loading("vae"):
            model = chosen.from_pretrained(self.folder / "vae", torch_dtype=dtype, use_safetensors=True)
        return model.eval().requires_grad_(False)

    def load_tokenizer(self) -> Any:
        """Load the tokenizer."""
        from transformers import AutoTokenizer

        with self._loading("tokenizer"):
            return AutoTokenizer.from_pretrained(self.folder / "tokenizer", trust_remote_code=False)

    def load_text_encoder(self, dtype: torch.dtype = torch.float32) -> Any:
        """Load the text encoder, frozen, in eval mode."""
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        chosen = self._class("text_encoder")
        with self._loading("text_encoder"):
            model = chosen.from_pretrained(self.folder / "text_encoder", dtype=dtype, use_safetensors=True)
        if not bool(model.get_input_embeddings().weight.any()):
            import transformers

            raise UserError(
                f"{self.setting}={self.name}: transformers {transformers.__version__} loaded its text encoder with "
                "word embeddings of zeros, so that every prompt means the same; install another release of transformers"
            )
        return model.eval().requires_grad_(False)

    def load_scheduler(self) -> Any:
        """Load the sampler with the base's noise schedule."""
        chosen = self._class("scheduler")
        with self._loading("scheduler"):
            return chosen.from_pretrained(self.folder / "scheduler")

    def _class(self, part: str) -> Any:
        stated = self._read_json("model_index.json").get(part)
        name = stated[1] if isinstance(stated, list) and len(stated) == 2 else None
        library = _CLASSES[part].get(name) if isinstance(name, str) else None
        if library is None:
            raise UserError(
                f"{self.setting}={self.name}: its {part} is {stated}; model_index.json may name "
                f"{', '.join(_CLASSES[part])}"
            )
        return getattr(importlib.import_module(library), str(name))

    @contextmanager
    def _loading(self, part: str) -> Iterator[None]:
        """Explain in one line what the libraries find wrong with a part's files."""
        try:
            yield
        except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError, RecursionError) as error:
            if isinstance(error, ImportError) or is_disk_full(error):
                raise
            why = " ".join(str(error).split())[:160]
            raise UserError(
                f"{self.setting}={self.name}: its {part} cannot be loaded ({why}); download the base again"
            ) from error

    def _size(self, key: str, place: int | None = None) -> int:
        """Return a number of the transformer's config."""
        found = self.transformer_config.get(key)
        if place is not None and isinstance(found, list) and place < len(found):
            found = found[place]
        if not isinstance(found, int) or found < 1:
            raise UserError(f"{self.setting}={self.name}: its transformer's {key} is {found}; download the base again")
        return found

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError("no group of keys")
        except OSError as error:
            raise UserError(
                f"{self.setting}={self.name}: {path} cannot be read ({error.strerror}); give a diffusers folder of "
                "Wan-VACE"
            ) from None
        except (ValueError, RecursionError):
            raise UserError(f"{self.setting}={self.name}: {path} is damaged; download the base again") from None
        return found


def cast_rope_to_float(transformer: nn.Module) -> Any:
    """Cast double-precision position tables to float32: attention is then not computed in double.

    Args:
        transformer: Of Wan, changed in place.

    Returns:
        The transformer.
    """
    rope: Any = transformer.rope
    rope.freqs_cos, rope.freqs_sin = rope.freqs_cos.float(), rope.freqs_sin.float()
    return transformer


def _download(name: str, setting: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UserError(f"{setting}={name}: there is no such folder; give a diffusers folder of Wan-VACE, or a hub id")
    try:
        return Path(snapshot_download(name, allow_patterns=["model_index.json", *(f"{part}/*" for part in _PARTS)]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        why = " ".join(str(error).split())[:160]
        raise UserError(
            f"{setting}={name}: is no folder, and could not be downloaded from the hub ({why}); download it elsewhere "
            "and give the folder"
        ) from None


def _hash_folder(folder: Path) -> str:
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
