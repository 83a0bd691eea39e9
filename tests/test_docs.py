"""Pages that point into the code point at what is there."""

import re
from pathlib import Path

import pytest

import facesmith

SOURCE = Path(facesmith.__file__).parent
ROOT = SOURCE.parents[1]
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_docs_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_docs_architecture_names_files_and_definitions_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    mentions = re.findall(r"`([a-z_/]+\.py)(?:: ([A-Za-z_.]+))?`", page)
    assert len(mentions) > 20
    for file, name in mentions:
        found = [path for path in SOURCE.rglob("*.py") if str(path.relative_to(SOURCE)).endswith(file)]
        assert found, file
        leaf = name.rpartition(".")[2]
        assert not name or any(re.search(rf"(def|class) {leaf}\b", path.read_text()) for path in found), (
            f"{file}: {name}"
        )
    rooms = re.findall(r"^ *([a-z_]+)/ ", page, re.MULTILINE)
    assert [room for room in rooms if not any(SOURCE.glob(f"**/{room}"))] == []
