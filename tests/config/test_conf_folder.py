"""Every entry point finds conf/ by one rule."""

from pathlib import Path

import pytest

from facesmith.config.conf_folder import conf_folder
from facesmith.errors import UserError

ROOT = Path(__file__).parents[2]


def folder_with(place: Path, config: str) -> Path:
    (place / "conf").mkdir(parents=True)
    (place / "conf" / f"{config}.yaml").touch()
    return place / "conf"


def test_a_scripts_own_comes_first_then_where_one_stands_then_the_checkouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert conf_folder("annotate") == ROOT / "conf"
    here = folder_with(tmp_path, "annotate")
    assert conf_folder("annotate") == here
    beside = folder_with(tmp_path / "other", "annotate")
    assert conf_folder("annotate", tmp_path / "other" / "mine.py") == beside
    assert conf_folder("purge", tmp_path / "other" / "mine.py") == ROOT / "conf"  # theirs does not hold it
    with pytest.raises(UserError, match=r"conf/nothing\.yaml: is not here"):
        conf_folder("nothing")
