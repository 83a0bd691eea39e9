"""What the page draws by itself: axes that can be read, numbers that stay whole, names as text."""

import json
import re
import shutil
from datetime import date, timedelta
from pathlib import Path

from facesmith.errors import UserError
from facesmith.studio.calls import command_of
from facesmith.studio.drawing import Html, draw_curves, draw_table
from facesmith.studio.profiles import draw_retention
from facesmith.studio.project import Project


def test_draw_curves_of_a_narrow_range_labels_its_lines_apart() -> None:
    for points in ([(0, 0.41391), (15, 0.41394)], [(0, 1.0), (9, 90_000.0)], [(0, 2e-9), (9, 3e-9)], [(0, 5.0)]):
        drawn = draw_curves({"<b>loss</b>": points}, "the loss")
        ticks = re.findall(r'text-anchor="end">([^<]+)</text>', drawn)[:3]
        assert len({float(tick) for tick in ticks}) == 3, ticks
        assert "&lt;b&gt;loss" in drawn
    assert "nothing yet" in draw_curves({"loss": [(0, float("nan"))]}, "the loss")


def test_draw_table_marks_numbers_and_shows_names_as_text() -> None:
    drawn = draw_table(("run", "best"), [["<i>a</i>", 0.123456], [Html("<b>b</b>"), None]], "Runs")
    assert "<td>&lt;i&gt;a&lt;/i&gt;</td>" in drawn
    assert '<td class="number">0.1235</td>' in drawn
    assert "<td><b>b</b></td><td></td>" in drawn


def test_draw_retention_lists_ends_of_consents(ada: Project) -> None:
    assert "No consent here has an end" in draw_retention(ada)
    (first,) = (ada.root / "face_sets" / "ada").glob("*/meta.json")
    for name, days in (("ada", -1), ("ben", 30)):
        folder = ada.root / "face_sets" / name / first.parent.name
        if name != "ada":
            shutil.copytree(first.parent, folder)
        meta = json.loads((folder / "meta.json").read_text())
        stated = {**meta, "name": name, "expires": (date.today() + timedelta(days)).isoformat()}
        (folder / "meta.json").write_text(json.dumps(stated))
    drawn = draw_retention(ada)
    assert re.search(r"<td>ada</td>.*has run out.*<td>ben</td>.*holds", drawn)


def test_command_of_unfinished_fields_is_a_comment(tmp_path: Path) -> None:
    def unfinished() -> list[str]:
        raise UserError("name: is empty\nand more")

    assert command_of(unfinished) == "# name: is empty"
    assert command_of(lambda: ["faces", "ada", "a b"]) == "facesmith faces ada 'a b'"
