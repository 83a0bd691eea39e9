"""What the site needs beyond the pages: the table of all keys, and links that lead out of `docs/`."""

import re
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from facesmith.cli.help import Key, collect_keys

_INTRODUCTION: Final = """\
# Every key

Made from the settings in the code, as `facesmith help` shows them. Set any key with `key=value`; `facesmith train
experiment=identity --cfg job` prints what a command composes to.
"""
_OUTSIDE: Final = re.compile(r"\[([^\]]+)\]\(\.\./((?!docs/)[^)#]+)[^)]*\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of all keys."""
    files.append(File.generated(config, "reference/keys.md", content=_keys_page()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Name files of the repository that are no part of the site instead of linking them."""
    return _OUTSIDE.sub(r"\1 (`\2` in the repository)", markdown)


def _keys_page() -> str:
    parts = [_INTRODUCTION]
    keys: dict[tuple[str, str], list[Key]] = {}
    for key in collect_keys():
        keys.setdefault((key.command, key.name), []).append(key)
    section = ""
    for (command, name), found in sorted(keys.items()):
        top = name.partition(".")[0] if "." in name else command
        heading = f"{command}: {top}" if top != command else command
        if heading != section:
            section = heading
            parts.append(f"\n## {heading}\n\n| key | takes | where | meaning |\n|---|---|---|---|")
        where = "<br>".join(_cell(f"{one.option or command}: {one.value}") for one in found)
        parts.append(f"| `{name}` | {_cell(found[0].takes)} | {where} | {_cell(found[0].meaning)} |")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("{", "&#123;").replace("*", "\\*")
