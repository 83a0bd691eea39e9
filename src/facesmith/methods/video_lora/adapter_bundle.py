"""Everything a base needs to generate a person: LoRA, mapper and embedding, in files or out of a checkpoint."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, device, from_numpy, tensor, zeros

from facesmith.config.consent import require_current
from facesmith.config.saved import read_settings
from facesmith.errors import UserError
from facesmith.files import atomic_write
from facesmith.media.images import read_image, write_image
from facesmith.methods.video_lora.config import VideoLoraModuleConfig
from facesmith.methods.video_lora.lora import FACTS_KEY, PREFIX, extract_lora, load_lora, save_comfy, save_lora
from facesmith.methods.video_lora.networks import (
    FaceMapper,
    Injection,
    Tensors,
    extract_face_attention,
    is_face_attention,
)
from facesmith.models.checkpoint import read_checkpoint

LORA: Final = "lora.safetensors"
COMFY: Final = "lora_comfyui.safetensors"
ATTENTION: Final = "face_attention.safetensors"
MOST: Final = 4  # reference photos of a video
MAPPER: Final = "mapper.safetensors"
_EMBEDDING: Final = "embedding"
_RECOGNISED: Final = "recognised"
REFERENCES: Final = "references"  # folder of the person's best photos
_NO_FACTS: Final = ("embedding", "people", "before", "figures", "portraits", _RECOGNISED)


@dataclass(frozen=True)
class AdapterBundle:
    """Mapper, LoRA and metadata of one or several people.

    Attributes:
        lora: Tensors in diffusers' names.
        lora_config: Of peft.
        mapper: Of face embeddings to tokens.
        embedding: (E,), L2-normalised, of the first person.
        facts: Whose face, by whose consent, for which base, trained with which prompt.
        attention: Weights of `FaceAttention` by name, where the face is injected there.
        recognised: (R,), the person's mean embedding of the recogniser; empty in bundles of earlier versions.
        portraits: (h,w,3) RGB uint8, the person's best photos; none in bundles of earlier versions.
    """

    lora: Tensors
    lora_config: dict[str, Any]
    mapper: FaceMapper
    embedding: Tensor
    facts: dict[str, Any]
    attention: Tensors | None = None
    recognised: Tensor = field(default_factory=lambda: zeros(0))
    portraits: tuple[Tensor, ...] = ()

    @property
    def injection(self) -> Injection:
        """How the face is injected into the transformer."""
        return "tail" if self.attention is None else "decoupled"

    @property
    def gate_tokens(self) -> bool:
        """Whether the face appears with its tokens; in bundles of earlier versions it does."""
        return bool(self.facts.get("gate_tokens", True))

    def save(self, folder: Path) -> list[Path]:
        """Write the LoRA in both namings, mapper and embeddings, photos, and the face attention where there is one."""
        paths = [folder / name for name in (LORA, COMFY, MAPPER)]
        save_lora(paths[0], self.lora, self.lora_config, self.facts)
        save_comfy(paths[1], self.lora, self.lora_config, self.facts)
        self.save_mapper(paths[2])
        for number, picture in enumerate(self.portraits):
            paths.append(folder / REFERENCES / f"photo_{number}.png")
            write_image(paths[-1], picture.numpy(), mark=None)
        if self.attention is not None:
            paths.append(folder / ATTENTION)
            with atomic_write(paths[-1]) as temporary:
                save_file(self.attention, temporary, metadata={"format": "pt", FACTS_KEY: json.dumps(self.facts)})
        return paths

    def save_mapper(self, path: Path) -> None:
        """Write the mapper with its shape, the embeddings of the person, and the facts."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.mapper.state_dict().items()}
        own = {_EMBEDDING: self.embedding, _RECOGNISED: self.recognised}
        metadata = {"format": "pt", "mapper": json.dumps(self.mapper.shape), FACTS_KEY: json.dumps(self.facts)}
        with atomic_write(path) as temporary:
            save_file({**tensors, **{k: v.cpu().contiguous() for k, v in own.items()}}, temporary, metadata=metadata)


def collect_bundle(transformer: Any, mapper: FaceMapper, provenance: dict[str, Any]) -> AdapterBundle:
    """Collect what was trained.

    Args:
        transformer: With LoRA and perhaps face attention.
        mapper: Of face embeddings to tokens.
        provenance: Of `VideoLoraModule`.
    """
    tensors, config = extract_lora(transformer)
    attention = extract_face_attention(transformer)
    return AdapterBundle(
        tensors, config, mapper, facts=_select_facts(provenance), attention=attention, **_faces(provenance)
    )


def load_bundle(path: Path) -> AdapterBundle:
    """Read a bundle.

    Args:
        path: `exports/` of a run, or a checkpoint.

    Raises:
        UserError: it is neither, files are missing or do not belong together, or the person's consent has ended.
    """
    bundle = _load_from_checkpoint(path) if path.suffix == ".ckpt" else _load_from_folder(path)
    require_current(bundle.facts.get("expires"), path, bundle.facts.get("identity"))
    return bundle


def _load_from_folder(path: Path) -> AdapterBundle:
    if not path.is_dir():
        raise UserError(f"model={path}: is neither a checkpoint (.ckpt) nor a folder with {LORA} and {MAPPER}")
    missing = [name for name in (LORA, MAPPER) if not (path / name).is_file()]
    facts: dict[str, Any] = {}
    if MAPPER not in missing:
        mapper, embedding, recognised, facts = _load_mapper(path / MAPPER)
    decoupled = facts.get("injection") == "decoupled"
    if decoupled and not (path / ATTENTION).is_file():
        missing.append(ATTENTION)
    if missing:
        raise UserError(f"model={path}: lacks {', '.join(missing)}; give the exports/ folder of a run, or a checkpoint")
    lora, config, lora_facts = load_lora(path / LORA)
    if lora_facts and lora_facts.get("base_hash") != facts.get("base_hash"):
        raise UserError(f"model={path}: {LORA} and {MAPPER} were trained on different bases; give those of one run")
    attention = _read(path / ATTENTION, "face attention")[0] if decoupled else None
    photos = sorted((path / REFERENCES).glob("photo_*.png"))[:MOST]
    portraits = tuple(from_numpy(read_image(photo)) for photo in photos)
    return AdapterBundle(lora, config, mapper, embedding, facts, attention, recognised, portraits)


def _load_mapper(path: Path) -> tuple[FaceMapper, Tensor, Tensor, dict[str, Any]]:
    """Read a mapper, the embedding it was trained for, that of the recogniser, and the facts."""
    tensors, metadata = _read(path, "a mapper")
    if "mapper" not in metadata or _EMBEDDING not in tensors:
        raise UserError(f"{path}: is no mapper; give {MAPPER} of a run's exports/")
    embedding, recognised = tensors.pop(_EMBEDDING), tensors.pop(_RECOGNISED, zeros(0))
    try:
        with device("meta"):  # the sizes are what the file says: nothing of them is allocated before they fit
            mapper = FaceMapper(**json.loads(metadata["mapper"]))
        mapper.load_state_dict(tensors, assign=True)
        facts = json.loads(metadata[FACTS_KEY])
        if not isinstance(facts, dict):
            raise TypeError("its facts are none")
        if not all(bool(tensor.isfinite().all()) for tensor in (embedding, recognised, *tensors.values())):
            raise ValueError("it holds NaN or infinity")
    except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError, RecursionError) as error:
        raise UserError(f"{path}: is a damaged mapper ({' '.join(str(error).split())[:120]}); copy it again") from None
    return mapper.float().eval(), embedding, recognised, facts


def _read(path: Path, what: str) -> tuple[Tensors, dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: is no safetensors file ({error}); give that of {what}") from None


def _load_from_checkpoint(path: Path) -> AdapterBundle:
    checkpoint = read_checkpoint(path)
    settings, provenance = (checkpoint["facesmith"][key] for key in ("settings", "provenance"))
    if "base_hash" not in provenance:
        raise UserError(f"model={path}: is no checkpoint of video_lora; give one of its runs")
    model = read_settings(settings, VideoLoraModuleConfig, f"model={path}")
    try:
        return _collect_saved(checkpoint["state_dict"], provenance, model)
    except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError) as error:
        why = " ".join(str(error).split())[:120]
        raise UserError(f"model={path}: its weights do not fit its settings ({why}); train it again") from None


def _collect_saved(state: Tensors, provenance: dict[str, Any], model: VideoLoraModuleConfig) -> AdapterBundle:
    """Collect what was trained from a checkpoint's weights."""
    shape = model.mapper
    width = state["mapper.head.weight"].shape[0] // shape.tokens
    mapper = FaceMapper(shape.embedding_size, shape.widths, shape.tokens, width, shape.dropout, shape.token_norm)
    mapper.load_state_dict(
        {name.removeprefix("mapper."): value for name, value in state.items() if name.startswith("mapper.")}
    )
    lora = {
        name.replace(".face.weight", ".weight"): value
        for name, value in state.items()
        if name.startswith(PREFIX) and ".lora_" in name
    }
    attention = {name.removeprefix(PREFIX): value for name, value in state.items() if is_face_attention(name)}
    config = {
        "peft_type": "LORA",
        "r": model.lora.rank,
        "lora_alpha": model.lora.alpha or model.lora.rank,
        "target_modules": sorted({name.split(".lora_")[0].removeprefix(PREFIX) for name in lora}),
    }
    facts = _select_facts(provenance)
    return AdapterBundle(lora, config, mapper.eval(), facts=facts, attention=attention or None, **_faces(provenance))


def _faces(provenance: dict[str, Any]) -> dict[str, Any]:
    """Return what a provenance holds of the person's face, as fields of `AdapterBundle`."""
    return {
        _EMBEDDING: tensor(provenance[_EMBEDDING]),
        _RECOGNISED: tensor(provenance.get(_RECOGNISED, [])),
        "portraits": tuple(provenance.get("portraits", ())),
    }


def _select_facts(provenance: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in provenance.items() if key not in _NO_FACTS}
