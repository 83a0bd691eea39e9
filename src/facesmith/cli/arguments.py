"""`key=value` arguments of the commands that need no run folder: read, validated, mistakes reported."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from facesmith.cli.composition import open_config
from facesmith.cli.mistakes import override_mistakes
from facesmith.cli.typed_values import as_typed
from facesmith.config.conf_folder import conf_folder
from facesmith.config.schema import validate
from facesmith.config.settings import Settings
from facesmith.config.validation_errors import closest_match
from facesmith.errors import UserError

C = TypeVar("C", bound=Settings)

_KEY: Final = re.compile(r"[+~]*[A-Za-z_][\w.]*=")  # `runs/lr=0.1` is a path


def wants_help(given: Sequence[str]) -> bool:
    """Return whether a command is asked what it takes."""
    return any(argument in ("-h", "--help") for argument in given)


def take_verb(given: Sequence[str], verbs: Sequence[str], command: str) -> tuple[str, list[str]]:
    """Split the first word off, one of a command's verbs.

    Args:
        given: What follows the command's name.
        verbs: Those that there are.
        command: The command's name, for messages.

    Raises:
        UserError: No such verb.
    """
    if given and given[0] in verbs:
        return given[0], list(given[1:])
    first = given[0] if given else ""
    closest = closest_match(first, verbs)
    mend = f"did you mean {closest}?" if closest else f"choose one of {', '.join(verbs)}"
    raise UserError(
        f"facesmith {command} {first}".rstrip() + f": {'no such verb' if first else 'no verb given'}; {mend}"
    )


def read_arguments(given: Sequence[str], schema: type[C], *, words: str | None = None, conf: str | None = None) -> C:
    """Read `key=value` arguments into settings.

    Args:
        given: The arguments, values in Hydra's grammar: `key=3`, `key=false`, `key=[a,b]`.
        schema: The settings; its defaults hold where `conf` is None.
        words: Key that takes what is not `key=value`, such as paths; a list where several are given or its default is
            one. No such words are taken where None.
        conf: Primary config that holds the defaults, this machine's paths and folder of weights among them.

    Raises:
        UserError: A key or value is wrong, one line each.
    """
    given = as_typed(given)
    overrides = [argument for argument in given if _KEY.match(argument)]
    plain = [argument for argument in given if not _KEY.match(argument)]
    for argument in plain:
        if argument.startswith("-") or words is None:
            raise UserError(f"{argument}: write {argument.strip('-') or 'key'}=<value>; --help lists the keys")
    extra: dict[str, Any] = {}
    if plain and words is not None:
        several = get_origin(schema.model_fields[words].annotation) is list
        if len(plain) > 1 and not several:
            raise UserError(f"{plain[1]}: only one {words} is taken")
        extra = {words: plain if several else plain[0]}
    if conf is None:
        return validate(OmegaConf.create({**dict(map(_parse, overrides)), **extra}), schema)
    return _composed(conf, overrides, extra, schema)


def _parse(override: str) -> tuple[str, Any]:
    try:
        parsed = OverridesParser.create().parse_override(override)
        value = parsed.value()
    except HydraException as error:
        raise UserError(f"{override}: {' '.join(str(error).split())}") from None
    if parsed.is_sweep_override() or parsed.package or (parsed.type is not None and parsed.type.name != "CHANGE"):
        raise UserError(f"{override}: one value a key is taken; write a list as [a,b]")
    return parsed.key_or_group, value


def _composed(conf: str, overrides: Sequence[str], extra: dict[str, Any], schema: type[C]) -> C:
    folder = conf_folder(conf)

    def check(cfg: DictConfig) -> C:
        """Validate what this command reads: a machine's own file may set keys of other commands."""
        own = OmegaConf.masked_copy(cfg, [field.alias or name for name, field in schema.model_fields.items()])
        OmegaConf.set_struct(own, False)
        for key, value in extra.items():
            own[key] = value
        return validate(own, schema)

    try:
        with open_config(conf, overrides, conf=folder) as cfg:
            return check(cfg)
    except (HydraException, OmegaConfBaseException) as error:
        lines = override_mistakes(Path(folder), conf, overrides, check)
        raise UserError("\n".join(lines) or " ".join(str(error).split())) from None
