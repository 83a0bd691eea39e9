"""Profiles, exported models, adapters, caches and marked media that come from a face."""

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from facesmith.errors import UserError
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.files import file_sha256
from facesmith.media.sources import IMAGES, VIDEOS
from facesmith.media.verification import verify_provenance
from facesmith.purge.links import Link, find_link
from facesmith.purge.removal import Trace, read_json

MODELS: Final = (".onnx", ".dfm")
EVALUATION: Final = "evaluation.json"
OF_EVALUATIONS: Final = ("evaluation.html", "pairs.csv", "pairs.jsonl", "against.jsonl", "people")
_LARGEST_HEADER: Final = 100_000_000


def traces_in_profiles(name: str, keys: set[str], root: Path) -> list[Trace]:
    """Find the profiles of an identity, and those that were combined from it.

    Args:
        name: The identity.
        keys: Of the person's own face sets.
        root: Folder of profiles.
    """
    traces = []
    for path in sorted(root.glob("*.json")):
        try:
            profile = IdentityProfile.load(path, expired="allow")
        except UserError:
            continue
        sets = {profile.face_set, *(one.face_set for one in profile.made_from)}
        if profile.id == name:
            traces.append(Trace("profile", (path,), "the identity's profile"))
        elif name in profile.ancestors or name in {one.id for one in profile.made_from}:
            traces.append(Trace("profile", (path,), f"{profile.id} was combined from this identity"))
        elif keys & sets:
            traces.append(Trace("profile", (path,), f"{profile.id} was measured on the same pictures", profile.id))
    return traces


def traces_of_adapters(name: str, root: Path) -> list[Trace]:
    """Find the adapters that an identity's profile lists, wherever they lie."""
    try:
        profile = IdentityProfile.load(root / f"{name}.json", expired="allow")
    except UserError:
        return []
    folders = [Path(one.folder) for one in profile.adapters]
    known = [folder for folder in folders if read_json(folder / "adapter.json").get("identity") == name]
    return [Trace("adapter", (folder,), "listed in the identity's profile") for folder in known]


def traces_in_folders(
    name: str, keys: set[str], folders: Sequence[Path], copies: Sequence[Path], *, media: bool
) -> list[Trace]:
    """Find models, adapters, evaluations and cached tensors that name this identity or its face sets, and copies.

    Args:
        name: The identity.
        keys: Of the person's own face sets.
        folders: Where to look, subfolders included.
        copies: Models whose copies count too.
        media: Also find pictures and videos that are marked with the identity.
    """
    hashes = {file_sha256(path) for path in copies}
    traces: list[Trace] = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.is_symlink():
                continue
            if path.name == EVALUATION:
                trace = _evaluation(path, name, keys)
            else:
                trace = _model(path, name, keys, hashes) if path.suffix in MODELS else _tensor_file(path, name, keys)
            if trace is None and media and path.suffix.lower() in IMAGES | VIDEOS:
                trace = _media(path, name)
            if trace is not None:
                traces.append(trace)
    return traces


def find_doubtful_models(name: str, folders: Sequence[Path], found: Sequence[Trace]) -> Iterator[Path]:
    """Yield models that bear the name but state no identity: somebody must look at them.

    Args:
        name: The identity.
        folders: Where to look.
        found: What is removed anyway.
    """
    known = {path for trace in found for path in trace.files}
    for folder in folders:
        for path in sorted(folder.rglob(f"*{name}*")):
            if path.suffix in MODELS and path not in known and path.is_file():
                yield path


def _model(path: Path, name: str, keys: set[str], hashes: set[str]) -> Trace | None:
    link = find_link(_onnx_metadata(path), name, keys)
    if link is None and hashes and file_sha256(path) in hashes:
        link = Link("a copy of a model of such a run")
    if link is None:
        return None
    # hash, model card and external data lie beside it under its name
    beside = [
        one
        for one in sorted(path.parent.glob(f"{_escape_glob(path.stem)}.*"))
        if one.is_file() and one != path and one.suffix in (".hash", ".md", ".json", ".data")
    ]
    return Trace("model", (path, *beside), link.why, link.shared_with)


def _onnx_metadata(path: Path) -> dict[str, Any]:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError, ValueError):
        return {}
    return {one.key: one.value for one in model.metadata_props}


def _tensor_file(path: Path, name: str, keys: set[str]) -> Trace | None:
    if path.suffix != ".safetensors":
        return None
    info = _safetensors_metadata(path)
    described = path.with_name("adapter_config.json")
    if described.is_file():
        for file in sorted(path.parent.glob("*.json")):
            info = {**read_json(file), **info}
    link = find_link(info, name, keys)
    if link is None:
        return None
    if described.is_file():
        return Trace("adapter", (path.parent,), link.why, link.shared_with)
    photos = path.with_name("references")  # of the person, beside an adapter of video_lora
    return Trace("cache", (path, *([photos] if photos.is_dir() else [])), link.why, link.shared_with)


def _safetensors_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a safetensors file without reading its tensors."""
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(size)) if size < _LARGEST_HEADER else {}
    except (OSError, ValueError, RecursionError, struct.error):
        return {}
    info = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    if not isinstance(info, dict):
        return {}
    try:
        facts = json.loads(info.get("facesmith", "{}"))  # LoRA and mapper files store their metadata in one value
    except (TypeError, ValueError, RecursionError):
        return info
    return {**facts, **info} if isinstance(facts, dict) else info


def _evaluation(path: Path, name: str, keys: set[str]) -> Trace | None:
    """Return the files of an evaluation that this identity's profile was a source of; others may lie beside them."""
    profiles = read_json(path).get("profiles")
    for facts in profiles if isinstance(profiles, list) else []:
        link = find_link(facts, name, keys) if isinstance(facts, dict) else None
        if link is not None:
            beside = [one for other in OF_EVALUATIONS if (one := path.with_name(other)).exists()]
            return Trace("evaluation", (path, *beside), link.why, link.shared_with)
    return None


def _media(path: Path, name: str) -> Trace | None:
    try:
        mark = verify_provenance(path).mark
    except UserError:
        return None
    if mark is None or name not in mark.identity.split(","):
        return None
    return Trace("picture or video", (path,), f"marked with this identity: {mark.title}")


def _escape_glob(text: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)
