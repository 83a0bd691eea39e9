"""The page holds everything it shows, says nothing of places, and is marked where it shows faces."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from facesmith.media.verification import verify_provenance
from facesmith.sweep.importance import Importance
from facesmith.sweep.ranking import rank
from facesmith.sweep.report import write_report
from facesmith.sweep.runs import find_runs

from .recorded_runs import write_recorded_run

NOT_MEASURED = Importance({}, "the runs' records", "too few")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs")
    write_recorded_run(made / "0", {"model.optimizer.lr": 1e-3}, [0.9, 0.5], picture=True)
    write_recorded_run(made / "1", {"model.optimizer.lr": 2e-3}, [0.9, float("nan")], picture=True)
    write_recorded_run(made / "2", {"model.optimizer.lr": 3e-3}, [0.8], RuntimeError("</script><b>no<!--<script>"))
    cut = made / "2/renders/epoch_0001.png"
    cut.parent.mkdir()
    cut.write_bytes((made / "0/renders/epoch_0003.png").read_bytes()[:300])
    return made


def written(folder: Path, page: Path, pictures: int) -> tuple[str, dict[str, Any]]:
    write_report(rank(find_runs(folder)), NOT_MEASURED, page, "a <sweep>", pictures)
    text = page.read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return text, json.loads(found[1])


def test_report_loads_nothing_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    text, data = written(folder, tmp_path / "page.html", pictures=0)
    assert "a &lt;sweep&gt;" in text
    outside = re.findall(
        r"""(?:src|href)\s*=\s*["']?(?!data:)[^"'\s>]+|@import|url\(|\bfetch\(|https?://[^"\s]+""", text
    )
    assert outside == ["http://www.w3.org/2000/svg"]
    assert not any(mark in text for mark in ("@TITLE@", "@DATA@", "@SCRIPT@"))
    assert "</script><b>" not in text
    assert "<!--<script>" not in text
    assert any("<!--<script>" in str(run["error"]) for run in data["runs"])
    assert [run["name"] for run in data["runs"]] == ["0", "2", "1"]


def test_report_holds_values_curves_and_settings(folder: Path, tmp_path: Path) -> None:
    _, data = written(folder, tmp_path / "page.html", pictures=0)
    first, failed, second = data["runs"]
    assert first["curves"]["val/judge_distance"] == [[1, 0.9], [3, 0.5]]
    assert first["settings"]["model.optimizer.lr"] == 1e-3
    assert first["best"] == "0.5000, 2"
    assert not any("paths" in key for key in first["settings"])
    assert (second["rank"], second["values"]) == (None, [None])
    assert failed["error"] == "RuntimeError: </script><b>no<!--<script>"
    assert all(run["picture"] is None for run in data["runs"])


def test_report_pictures_are_small_and_marked_synthetic(folder: Path, tmp_path: Path) -> None:
    _, data = written(folder, tmp_path / "page.html", pictures=1)
    assert [bool(run["picture"]) for run in data["runs"]] == [True, False, False]
    _, data = written(folder, tmp_path / "page.html", pictures=9)
    assert [bool(run["picture"]) for run in data["runs"]] == [True, False, True]  # the second was cut off by a kill
    preview = tmp_path / "preview.webp"
    preview.write_bytes(base64.b64decode(data["runs"][0]["picture"].partition(",")[2]))
    finding = verify_provenance(preview)
    assert finding.synthetic
    assert finding.state == "signed"
