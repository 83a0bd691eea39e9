"""What the site needs beyond the pages: the table of all keys, and links that lead out of `docs/`."""

import re
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from facesmith.cli.help import Key, collect_keys

_INTRODUCTION: Final = """\
---
hide: [toc]
---
# Every key

Made from the settings in the code, as `facesmith help` shows them. Set any key with `key=value`; `facesmith train
experiment=identity --cfg job` prints what a command composes to.
"""
_ORDER: Final = ("train", "infer", "export", "annotate", "studio")
_SHARED: Final = ("assets", "logging", "media", "paths", "provenance")
_OUTSIDE: Final = re.compile(r"\[([^\]]+)\]\(\.\./((?!docs/)[^)#]+)[^)]*\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of all keys."""
    files.append(File.generated(config, "reference/keys.md", content=_keys_page()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Name files of the repository that are no part of the site instead of linking them."""
    return _OUTSIDE.sub(r"\1 (`\2` in the repository)", markdown)


def _keys_page() -> str:
    sections: dict[str, dict[str, list[Key]]] = {}
    for key in collect_keys():
        top = key.name.partition(".")[0]
        shared = top in _SHARED
        if shared and key.command != "train":
            continue
        section = "Every command" if shared else f"{key.command}: {top}" if "." in key.name else key.command
        sections.setdefault(section, {}).setdefault(key.name, []).append(key)
    order = sorted(sections, key=lambda name: ([*_ORDER, "Every"].index(re.split(r"[: ]", name)[0]), name))
    parts = [_INTRODUCTION]
    for section in order:
        parts.append(f"\n## {section}\n\n| key | takes | where | meaning |\n|---|---|---|---|")
        for name, found in sorted(sections[section].items()):
            where = "<br>".join(_cell(f"{one.option}: {one.value}" if one.option else one.value) for one in found)
            parts.append(f"| `{name}` | {_cell(found[0].takes)} | {where} | {_cell(found[0].meaning)} |")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("{", "&#123;").replace("*", "\\*")
