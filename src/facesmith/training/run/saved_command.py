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
from yaml import YAMLError  # OmegaConf raises it

import facesmith
from facesmith.config.renamed import upgrade_override
from facesmith.errors import UserError

HYDRA_FOLDER: Final = ".hydra"
_RECORD: Final = "run.json"
_OWN: Final = "train"  # the primary config that needs no flag
_PRIMARY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_REFERENCE: Final = re.compile(r"\$\{(\.*[\w.\[\]-]+|oc\.select:[\w.]+(,[^${}]*)?)\}")  # to another key
_CALLING: Final = re.compile(r"_(partial|args|recursive|convert)_$")
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
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"resume={folder}: its record cannot be read ({error}); start a new run") from None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise UserError(f"resume={folder}: its record holds no list of overrides; start a new run")
    # the last start may have been sent to its folder
    kept = [one for one in map(upgrade_override, found) if key_of(one) not in ("resume", "hydra.run.dir")]
    parser = OverridesParser.create()
    for one in kept:
        why = None if key_of(one) in replaced else _refusal(one, parser)
        if why is not None:
            raise UserError(
                f"resume={folder}: its override {one[:120]} {why}; if it is yours, give {key_of(one)}=... again"
            )
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
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"resume={folder}: its {HYDRA_FOLDER}/hydra.yaml cannot be read; start a new run") from None
    known = {
        (place / kind).resolve() for place in (Path.cwd(), _PACKAGE.parents[1], _PACKAGE) for kind in ("conf", "sweeps")
    }
    strange = [path for path in sources if not isinstance(path, str) or Path(path).resolve() not in known]
    if strange or not isinstance(name, str) or not _PRIMARY.fullmatch(name):
        given = " ".join([*(f"-cd {path}" for path in strange), f"-cn {name}"])
        raise UserError(f"resume={folder}: was started with {given}; if that config is yours, give these flags again")
    flags = [flag for path in sources for flag in ("-cd", path)]
    return [*flags, *(["-cn", name] if name != _OWN else [])]


def key_of(override: str) -> str:
    """Return the key of an override without `+` and `~`."""
    return override.partition("=")[0].lstrip("+~")


def _plain(path: Path) -> Any:
    """Read a YAML file without resolving anything in it."""
    try:
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (YAMLError, OmegaConfBaseException) as error:
        raise ValueError(" ".join(str(error).split())[:160]) from None


def _refusal(text: str, parser: OverridesParser) -> str | None:
    """Say why an override is not taken from a file; None where it is."""
    try:
        override = parser.parse_override(text)
        value = None if override.is_delete() else override.value()
    except HydraException:
        return "is not in Hydra's grammar"
    key = override.key_or_group
    if any(re.split(r"[./]", place or "")[0] == "hydra" for place in (key, override.package)):
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
    return None


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
