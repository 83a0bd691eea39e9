"""Command lines: their words, and values in the grammar that commands take."""

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Final

from facesmith.errors import UserError

_PLAIN: Final = re.compile(r"[A-Za-z_./][\w./:@+-]*", re.ASCII)
_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def is_slug(name: object) -> bool:
    """Return whether a name may name a person and a folder.

    Args:
        name: What is to be a name.
    """
    return isinstance(name, str) and _SLUG.fullmatch(name) is not None


def check_slug(name: str, key: str) -> str:
    """Return a name that names a folder.

    Args:
        name: As typed.
        key: What it is for.

    Raises:
        UserError: It is none.
    """
    if not is_slug(name):
        raise UserError(
            f"{key}={str(name or '')[:40]}: use lower-case letters, digits, - and _, beginning with a letter or digit"
        )
    return name


def command_line(words: Iterable[str]) -> str:
    """Return a command as one would type it.

    Args:
        words: What follows `facesmith`.
    """
    return shlex.join(["facesmith", *words])


def argument(key: str, value: object) -> str:
    """Return `key=value` as one would type it: plain where the commands take it so, else quoted for their grammar.

    Args:
        key: Dotted.
        value: A number, text, path, list, or None.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser  # what starts a job needs no Hydra
    from hydra.errors import HydraException

    from facesmith.cli.typed_values import as_typed

    plain = f"{key}={value}"
    if isinstance(value, str) and "\n" not in value:
        try:
            if OverridesParser.create().parse_override(as_typed([plain])[0]).value() == value:
                return plain
        except HydraException:
            pass
    return f"{key}={quote_value(value)}"


def quote_value(value: object) -> str:
    """Return a value in the grammar of overrides, quoted where it needs to be.

    Args:
        value: A number, text, path, list, mapping, or None.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(quote_value(one) for one in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {quote_value(one)}' for key, one in value.items())}}}"
    text = str(value)
    plain = _PLAIN.fullmatch(text) and text.lower() not in ("null", "true", "false", "inf", "nan")
    if isinstance(value, int | float) or plain:
        return text
    from hydra.core.override_parser.types import Quote, QuotedString  # what starts a job needs no Hydra

    quoted: str = QuotedString(text=text, quote=Quote.single).with_quotes()
    return quoted
