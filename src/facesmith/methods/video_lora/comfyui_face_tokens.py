"""A node for ComfyUI that writes a person's face tokens beside the words of a prompt.

This one file is copied into ComfyUI/custom_nodes, so it imports nothing of facesmith. The tokens' network is read from
ComfyUI/models/facesmith: a `mapper.safetensors` of a video_lora run, also under another name.
"""

import json
import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional

Conditioning = list[list[Any]]

_FOLDER: Final = "facesmith"  # of ComfyUI/models
_NONE: Final = "none"
_MOST_ROWS: Final = 4096
_DAMAGED: Final = (LookupError, TypeError, ValueError, RuntimeError, RecursionError)


@dataclass(frozen=True)
class FaceTokenMapper:
    """A trained network that maps a face embedding to tokens.

    Attributes:
        file: Where it was read from.
        tensors: Its weights by name.
        layers: Number of hidden layers.
        tokens: K, the number of tokens.
        text_width: W, numbers of a row of encoded text.
        text_length: L, rows of text that it was trained with.
        encoder: Name of the face encoder.
        embedding: (E,), L2-normalised, of the person.
    """

    file: Path
    tensors: dict[str, Tensor]
    layers: int
    tokens: int
    text_width: int
    text_length: int
    encoder: str
    embedding: Tensor

    def __call__(self, embedding: Tensor) -> Tensor:
        """Map an embedding (E,) to tokens (1,K,W)."""
        rows = embedding[None] * len(embedding) ** 0.5
        for number in range(self.layers):
            rows = functional.gelu(functional.linear(rows, *self._layer(f"body.{3 * number}")))
        found: Tensor = functional.linear(rows, *self._layer("head"))
        return found.view(-1, self.tokens, self.text_width)

    def _layer(self, name: str) -> tuple[Tensor, Tensor]:
        return self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]


def load_mapper(file: Path) -> FaceTokenMapper:
    """Read a mapper.

    Args:
        file: A `mapper.safetensors` of a video_lora run.

    Raises:
        ValueError: it is none, is damaged, has no tokens that a prompt could hold, or the person's consent has ended.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file}: is no safetensors file ({error}); give mapper.safetensors of a run") from None
    if "mapper" not in metadata or "embedding" not in tensors:
        raise ValueError(f"{file}: holds no face tokens; give mapper.safetensors of a video_lora run, not its LoRA")
    try:
        shape, facts = json.loads(metadata["mapper"]), json.loads(metadata["facesmith"])
        mapper = FaceTokenMapper(
            file=file,
            tensors={name: value.float() for name, value in tensors.items()},
            layers=len(shape["widths"]),
            tokens=int(shape["tokens"]),
            text_width=int(shape["text_width"]),
            text_length=int(facts["text_length"]),
            encoder=str(facts["encoder"]),
            embedding=tensors["embedding"].float(),
        )
        if not 0 < mapper.tokens < mapper.text_length <= _MOST_ROWS:
            raise ValueError(f"{mapper.tokens} tokens in {mapper.text_length} rows of text")
        if not bool(mapper(mapper.embedding).isfinite().all()):  # nor do weights that do not fit each other
            raise ValueError("its tokens hold NaN or infinity")
        injection, gated = facts.get("injection", "tail"), facts.get("gate_tokens", True)
        expires, identity = facts.get("expires"), facts.get("identity")
    except _DAMAGED as error:
        raise ValueError(f"{file}: is damaged ({' '.join(str(error).split())[:120]}); copy it again") from None
    if injection != "tail":
        raise ValueError(
            f"{file}: was trained with model.injection={injection}, whose face attention ComfyUI has not; train with "
            "model.injection=tail, or use facesmith infer task=generate"
        )
    if not gated:
        raise ValueError(
            f"{file}: was trained without face tokens (model.gate_tokens=false); leave this node out, load the LoRA "
            "and begin the prompt with its trigger"
        )
    _require_current(expires, file, identity)
    return mapper


def read_profile(file: Path, mapper: FaceTokenMapper) -> Tensor:
    """Read a face embedding (E,) from an identity profile.

    Args:
        file: A profile as facesmith writes it, JSON.
        mapper: That is to map it.

    Raises:
        ValueError: it is no profile, of another face encoder, or the person's consent has ended.
    """
    try:
        profile = json.loads(file.read_bytes())
        embedder, mean, expires = profile["embedder"], profile["embedding_mean"], profile.get("expires")
        embedding = torch.tensor(mean, dtype=torch.float32)
        if embedding.ndim != 1 or not abs(float(embedding.norm()) - 1) <= 1e-3:
            raise ValueError("embedding_mean is no list of numbers of length 1")
        identity = profile["id"]
    except (OSError, AttributeError, *_DAMAGED) as error:
        raise ValueError(f"{file}: is no identity profile ({' '.join(str(error).split())[:120]})") from None
    if embedder != mapper.encoder or embedding.shape != mapper.embedding.shape:
        raise ValueError(
            f"{file}: was made with {embedder} ({len(embedding)} numbers), {mapper.file.name} reads {mapper.encoder} "
            f"({len(mapper.embedding)}); make it with facesmith infer task=embed encoder={mapper.encoder}"
        )
    _require_current(expires, file, identity)
    return embedding


def write_tokens(text: Tensor, tokens: Tensor, scale: float, length: int) -> Tensor:
    """Write scaled face tokens over the last rows of an encoded prompt.

    Wan's text encoder fills prompts with rows of zeros, of which any number may be added or left out.

    Args:
        text: (N,rows,W) encoded prompts, rows of zeros behind the words.
        tokens: (1,K,W) face tokens.
        scale: Of the tokens: 0 no identity, 1 as trained.
        length: L, rows that the tokens were trained with.

    Returns:
        (N,L,W), the last K rows are the tokens'.

    Raises:
        ValueError: the text is of another encoder, or its words leave no room.
    """
    if text.shape[-1] != tokens.shape[-1]:
        raise ValueError(
            f"conditioning: has rows of {text.shape[-1]} numbers, the face tokens {tokens.shape[-1]}; encode the "
            "prompt with the text encoder of the model that was trained on (Wan's: Load CLIP with type wan)"
        )
    free = length - tokens.shape[1]
    used = text.ne(0).any(-1).any(0).nonzero()
    words = int(used[-1]) + 1 if len(used) else 0
    if words > free:
        raise ValueError(
            f"conditioning: has {words} rows of words, {free} fit beside {tokens.shape[1]} face tokens; shorten the "
            "prompt, and put this node once and directly behind CLIP Text Encode"
        )
    padded: Tensor = functional.pad(text, (0, 0, 0, max(0, free - text.shape[1])))
    scaled = torch.full((len(text), 1, 1), scale) * tokens.to(text.dtype).float()
    return torch.cat([padded[:, :free], scaled.to(text)], 1)


class FacesmithFaceTokens:
    """Write a person's face tokens into a prompt's conditioning."""

    CATEGORY = "conditioning/facesmith"
    DESCRIPTION = "Writes a person's face tokens beside the words of a prompt. Load the person's LoRA as well."
    RETURN_TYPES = ("CONDITIONING",)
    FUNCTION = "apply"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  # ComfyUI's name
        """List the inputs; files are those in ComfyUI/models/facesmith."""
        files = _folders().get_filename_list(_FOLDER)
        mappers = [name for name in files if name.endswith(".safetensors")]
        profiles = [name for name in files if name.endswith(".json")]
        doses = "0 no identity, 0.25 weaker, 1 as trained, 1.5 strong; above 2 faces break"
        return {
            "required": {
                "positive": ("CONDITIONING", {"tooltip": "The encoded prompt; a negative prompt gets no tokens."}),
                "mapper": (mappers, {"tooltip": "mapper.safetensors of the run, in models/facesmith."}),
                "face_scale": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 4.0, "step": 0.05, "tooltip": doses}),
            },
            "optional": {
                "profile": ([_NONE, *profiles], {"tooltip": "Another face: an identity profile in models/facesmith."}),
            },
        }

    @classmethod
    def IS_CHANGED(cls, mapper: str, profile: str = _NONE, **rest: Any) -> list[float]:  # noqa: N802  # ComfyUI's name
        """Return when the files were written, so that a person trained again is read again."""
        return [_find_file(name).stat().st_mtime for name in (mapper, profile) if name != _NONE]

    def apply(
        self, positive: Conditioning, mapper: str, face_scale: float, profile: str = _NONE
    ) -> tuple[Conditioning]:
        """Write the tokens into every prompt of a conditioning.

        Args:
            positive: Encoded prompts (N,rows,W), each with its options.
            mapper: File in models/facesmith.
            face_scale: Scale of the tokens.
            profile: File in models/facesmith, or none for the person who was trained.
        """
        if not math.isfinite(face_scale):
            raise ValueError(f"face_scale={face_scale}: must be a number from 0 to 4")
        loaded = load_mapper(_find_file(mapper))
        face = loaded.embedding if profile == _NONE else read_profile(_find_file(profile), loaded)
        tokens = loaded(face)
        return ([[write_tokens(text, tokens, face_scale, loaded.text_length), more] for text, more in positive],)


def _folders() -> Any:
    """Return ComfyUI's own module of model folders, with models/facesmith among them."""
    import folder_paths

    folder_paths.add_model_folder_path(_FOLDER, str(Path(folder_paths.models_dir, _FOLDER)))
    return folder_paths


def _find_file(name: str) -> Path:
    return Path(_folders().get_full_path_or_raise(_FOLDER, name))


def _require_current(expires: object, file: Path, identity: object) -> None:
    """Make sure that the consent of whom a file shows still holds."""
    if not expires:
        return
    try:
        end = date.fromisoformat(str(expires))
    except ValueError:
        raise ValueError(f"{file}: the end of the consent is no date: {str(expires)[:20]!r}; make it again") from None
    if end < date.today():
        raise ValueError(f"{file}: the consent of {identity} ended on {end}; renew it and train again, or remove it")


NODE_CLASS_MAPPINGS = {"FacesmithFaceTokens": FacesmithFaceTokens}
NODE_DISPLAY_NAME_MAPPINGS = {"FacesmithFaceTokens": "Face Tokens (facesmith)"}
