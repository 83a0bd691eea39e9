"""A person that a base can draw: LoRA, mapper and embedding, in files or out of a checkpoint."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, tensor

from facesmith.config.saved import read_settings
from facesmith.errors import UserError
from facesmith.files import atomic_write
from facesmith.methods.video_lora.config import VideoLoraModuleConfig
from facesmith.methods.video_lora.lora import FACTS_KEY, Tensors, load_lora, lora_of, save_comfy, save_lora
from facesmith.methods.video_lora.networks import FaceMapper, Injection, face_attention_of, is_face_attention
from facesmith.models.checkpoint import read_checkpoint

LORA: Final = "lora.safetensors"
COMFY: Final = "lora_comfyui.safetensors"
ATTENTION: Final = "face_attention.safetensors"
MAPPER: Final = "mapper.safetensors"
_EMBEDDING: Final = "embedding"


@dataclass(frozen=True)
class Person:
    """What was learnt of a person.

    lora: tensors in diffusers' names. lora_config: of peft. embedding: (E,), L2-normalised. facts: see `facts_of`.
    attention: layers of `FaceAttention` by name, where the face is injected there.
    """

    lora: Tensors
    lora_config: dict[str, Any]
    mapper: FaceMapper
    embedding: Tensor
    facts: dict[str, Any]
    attention: Tensors | None = None

    @property
    def injection(self) -> Injection:
        """Where the transformer finds the face."""
        return "tail" if self.attention is None else "decoupled"

    def save(self, folder: Path) -> list[Path]:
        """Write the LoRA in both namings, the mapper with the embedding, and the layers of the face where there are."""
        paths = [folder / name for name in (LORA, COMFY, MAPPER)]
        save_lora(paths[0], self.lora, self.lora_config, self.facts)
        save_comfy(paths[1], self.lora, self.lora_config, self.facts)
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.mapper.state_dict().items()}
        metadata = {"format": "pt", "mapper": json.dumps(self.mapper.shape), FACTS_KEY: json.dumps(self.facts)}
        with atomic_write(paths[2]) as temporary:
            save_file({**tensors, _EMBEDDING: self.embedding.cpu().contiguous()}, temporary, metadata=metadata)
        if self.attention is not None:
            paths.append(folder / ATTENTION)
            with atomic_write(paths[-1]) as temporary:
                save_file(self.attention, temporary, metadata={"format": "pt", FACTS_KEY: json.dumps(self.facts)})
        return paths


def person_of(transformer: Any, mapper: FaceMapper, provenance: dict[str, Any]) -> Person:
    """Return the person that was trained."""
    tensors, config = lora_of(transformer)
    embedding, facts = tensor(provenance["embedding"]), facts_of(provenance)
    return Person(tensors, config, mapper, embedding, facts, face_attention_of(transformer))


def facts_of(provenance: dict[str, Any]) -> dict[str, Any]:
    """Return what files say of themselves: whose face, by whose consent, for which base, trained with which prompt."""
    left_out = ("embedding", "people", "before", "figures")
    return {key: value for key, value in provenance.items() if key not in left_out}


def load_person(path: Path) -> Person:
    """Read a person from a folder of `exports/`, or from a checkpoint.

    Raises:
        UserError: it is neither, or files are missing or do not belong together.
    """
    if path.suffix == ".ckpt":
        return _of_checkpoint(path)
    if not path.is_dir():
        raise UserError(f"model={path}: is neither a checkpoint (.ckpt) nor a folder with {LORA} and {MAPPER}")
    missing = [name for name in (LORA, MAPPER) if not (path / name).is_file()]
    told: dict[str, Any] = {}
    if MAPPER not in missing:
        mapper, embedding, told = load_mapper(path / MAPPER)
    decoupled = told.get("injection") == "decoupled"
    if decoupled and not (path / ATTENTION).is_file():
        missing.append(ATTENTION)
    if missing:
        raise UserError(f"model={path}: lacks {', '.join(missing)}; give the exports/ folder of a run, or a checkpoint")
    lora, config, facts = load_lora(path / LORA)
    if facts and facts.get("base_hash") != told.get("base_hash"):
        raise UserError(f"model={path}: {LORA} and {MAPPER} were trained on different bases; give those of one run")
    attention = _read(path / ATTENTION, "the layers of a face")[0] if decoupled else None
    return Person(lora, config, mapper, embedding, told, attention)


def load_mapper(path: Path) -> tuple[FaceMapper, Tensor, dict[str, Any]]:
    """Read a mapper, the embedding it was trained for, and its facts.

    Raises:
        UserError: it is no mapper's file.
    """
    tensors, metadata = _read(path, "a mapper")
    if "mapper" not in metadata or _EMBEDDING not in tensors:
        raise UserError(f"{path}: is no mapper; give {MAPPER} of a run's exports/")
    embedding = tensors.pop(_EMBEDDING)
    mapper = FaceMapper(**json.loads(metadata["mapper"]))
    mapper.load_state_dict(tensors)
    return mapper.eval(), embedding, json.loads(metadata[FACTS_KEY])


def _read(path: Path, what: str) -> tuple[Tensors, dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: is no safetensors file ({error}); give that of {what}") from None


def _of_checkpoint(path: Path) -> Person:
    checkpoint = read_checkpoint(path)
    settings, provenance = (checkpoint["facesmith"][key] for key in ("settings", "provenance"))
    if "base_hash" not in provenance:
        raise UserError(f"model={path}: is no checkpoint of video_lora; give one of its runs")
    model = read_settings(settings, VideoLoraModuleConfig, f"model={path}")
    state, wanted = checkpoint["state_dict"], model.mapper
    width = state["mapper.head.weight"].shape[0] // wanted.tokens
    mapper = FaceMapper(
        wanted.embedding_size, list(wanted.widths), wanted.tokens, width, wanted.dropout, wanted.token_norm
    )
    mapper.load_state_dict({name[7:]: value for name, value in state.items() if name.startswith("mapper.")})
    halves = {
        name.replace(".face.weight", ".weight"): value
        for name, value in state.items()
        if name.startswith("transformer.") and ".lora_" in name
    }
    attention = {name.removeprefix("transformer."): value for name, value in state.items() if is_face_attention(name)}
    config = {
        "peft_type": "LORA",
        "r": model.lora.rank,
        "lora_alpha": model.lora.alpha or model.lora.rank,
        "target_modules": sorted({name.split(".lora_")[0].removeprefix("transformer.") for name in halves}),
    }
    embedding = tensor(provenance["embedding"])
    return Person(halves, config, mapper.eval(), embedding, facts_of(provenance), attention or None)
