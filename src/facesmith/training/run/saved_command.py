"""The command a run was started with, read from its folder, and the parts that are not accepted from a file.

A run folder may come from somebody else, so its content is data. Values, options and the names of classes that a
config may name (`config.targets`) are taken. Refused is what would run or read something else: Hydra's own keys
(launchers and logging are built from them), resolvers such as `${oc.env:...}`, options outside the config folders,
primary configs of other folders, and the keys that change how a class is called. The person at the command line may
give each of these again.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import AliasEvent, SafeLoader, YAMLError, parse

import facesmith
from facesmith.config.renamed import find_removed, upgrade_override
from facesmith.config.targets import is_own
from facesmith.errors import UserError

HYDRA_FOLDER: Final = ".hydra"
_RECORD: Final = "run.json"
_OWN: Final = "train"  # the primary config that needs no flag
_WANDB: Final = "wandb"
_PRIMARY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_REFERENCE: Final = re.compile(r"\$\{(\.*[\w.\[\]-]+|oc\.select:[\w.]+(,[^${}]*)?)\}")  # to another key
_CALLING: Final = re.compile(r"_(partial|args|recursive|convert)_$")
_DOTTED: Final = re.compile(r"[A-Za-z_]\w*(\.\w+){2,}")  # lightning.pytorch.callbacks.ModelCheckpoint
_PLACE: Final = re.compile(r"\.(dirpath|filename|save_dir|root_dir|default_root_dir|tracking_uri)$")  # of Lightning's
_NO_OVERRIDE: Final = re.compile(r"[+~]*(-|=|$)|.*[\x00-\x1f]", re.DOTALL)  # flags of Hydra's, and what has no key
_PACKAGE: Final = Path(facesmith.__file__).parent


def saved_overrides(folder: Path, replaced: set[str]) -> list[str]:
    """Return the overrides of a run's last start that was not refused, or else of its first.

    Args:
        folder: The run's folder.
        replaced: Keys given again, by `key_of`: the folder's values for them are not checked.

    Returns:
        Overrides in Hydra's grammar, under the names of this version.

    Raises:
        UserError: They cannot be read, or one asks for what is not taken from a file.
    """
    record = folder / _RECORD
    try:
        if record.is_file():
            found = json.loads(record.read_text(encoding="utf-8")).get("overrides")
        else:
            found = _plain(folder / HYDRA_FOLDER / "overrides.yaml")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"resume={folder}: its record cannot be read ({error}); start a new run") from None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise UserError(f"resume={folder}: its record holds no list of overrides; start a new run")
    # the last start may have been sent to its folder
    kept = [one for one in map(upgrade_override, found) if key_of(one) not in ("resume", "hydra.run.dir")]
    parser = OverridesParser.create()
    for one in kept:
        removed = find_removed(one)
        if removed is not None:
            raise UserError(f"resume={folder}: {removed}")
        known = key_of(one) in replaced and not _NO_OVERRIDE.match(one)
        why = None if known else _refusal(one, parser)
        if why is not None:
            shortened, key = (" ".join(text.split())[:120] for text in (one, key_of(one)))
            raise UserError(f"resume={folder}: its override {shortened} {why}; if it is yours, give {key}=... again")
    return kept


def primary_config_flags(folder: Path) -> list[str]:
    """Return the flags that name the primary config a run was started with, when it is not the entry point's own.

    Args:
        folder: The run's folder.

    Raises:
        UserError: The config lies neither in `conf` nor in `sweeps`, of the working folder or of facesmith.
    """
    try:
        hydra = _plain(folder / HYDRA_FOLDER / "hydra.yaml")["hydra"]
        name = hydra["job"]["config_name"] or _OWN
        sources = [one["path"] for one in hydra["runtime"]["config_sources"] if one["provider"] == "command-line"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"resume={folder}: its {HYDRA_FOLDER}/hydra.yaml cannot be read; start a new run") from None
    known = {
        (place / kind).resolve() for place in (Path.cwd(), _PACKAGE.parents[1], _PACKAGE) for kind in ("conf", "sweeps")
    }
    strange = [path for path in sources if not isinstance(path, str) or not _is_known(path, known)]
    if strange or not isinstance(name, str) or not _PRIMARY.fullmatch(name):
        given = " ".join(" ".join([*(f"-cd {path}" for path in strange), f"-cn {name}"]).split())[:200]
        raise UserError(f"resume={folder}: was started with {given}; if that config is yours, give these flags again")
    flags = [flag for path in sources for flag in ("-cd", path)]
    return [*flags, *(["-cn", name] if name != _OWN else [])]


def refuse_links(folder: Path) -> None:
    """Refuse a run's folder with links that lead out of it: a run that goes on writes its logs and checkpoints there.

    Args:
        folder: The run's folder.

    Raises:
        UserError: There is such a link.
    """
    inside = folder.resolve()
    for path in folder.rglob("*"):
        if _WANDB in path.relative_to(folder).parts[:-1]:
            continue  # W&B links its logs to its cache, and writes to no folder that it finds
        try:
            leaves = path.is_symlink() and not path.resolve().is_relative_to(inside)
        except (OSError, RuntimeError):  # a link to itself
            leaves = True
        if leaves:
            raise UserError(f"{path}: is a link out of the run's folder; put there what it leads to, or remove it")


def key_of(override: str) -> str:
    """Return the key of an override without `+` and `~`."""
    return override.partition("=")[0].lstrip("+~")


def _plain(path: Path) -> Any:
    """Read a YAML file without resolving anything in it; Hydra writes no aliases, and a few of them are gigabytes."""
    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(event, AliasEvent) for event in parse(text, Loader=SafeLoader)):
            raise ValueError(f"{path} has aliases")
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (YAMLError, OmegaConfBaseException) as error:
        raise ValueError(" ".join(str(error).split())[:160]) from None


def _refusal(text: str, parser: OverridesParser) -> str | None:
    """Explain why an override is not taken from a file; None where it is."""
    if _NO_OVERRIDE.match(text):
        return "is not in Hydra's grammar"
    try:
        override = parser.parse_override(text)
        value = None if override.is_delete() else override.value()
    except (HydraException, RecursionError, ValueError):  # the last of a number of thousands of digits
        return "is not in Hydra's grammar"
    key = override.key_or_group
    if any("hydra" in re.split(r"[./]", place or "") for place in (key, override.package)):
        return "changes Hydra itself"
    if _CALLING.search(key):
        return "changes how a class is called"
    texts = [text, *_texts(value)]
    if any("${" in _REFERENCE.sub("", one) for one in texts):
        return "holds a resolver, which reads more than other keys"
    if any(_CALLING.match(one) for one in texts[1:]):
        return "changes how a class is called"
    if "." not in key and any(_leaves(one) for one in texts[1:]):
        return "is outside the config folders"
    if (_PLACE.search(key) or any(map(_is_foreign, texts[1:]))) and any(_leaves(one) for one in texts[1:]):
        return "lets a class of another package write elsewhere"
    return None


def _is_known(path: str, known: set[Path]) -> bool:
    try:
        return Path(path).resolve() in known
    except (OSError, ValueError, RuntimeError):
        return False


def _is_foreign(text: str) -> bool:
    return _DOTTED.fullmatch(text) is not None and not is_own(text)


def _leaves(option: str) -> bool:
    return option.startswith(("/", "~")) or ".." in re.split(r"[/\\]", option) or "://" in option


def _texts(value: object) -> Iterator[str]:
    """Yield every text in an override's value, keys included."""
    if isinstance(value, QuotedString):
        yield value.text
    elif isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from (*_texts(key), *_texts(inner))
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _texts(inner)
