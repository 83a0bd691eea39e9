"""Every command finds conf/ and sweeps/ by one rule."""

from pathlib import Path

import pytest

from facesmith.config.conf_folder import conf_folder, folders
from facesmith.errors import UserError

ROOT = Path(__file__).parents[2]


def test_conf_folder_of_the_working_folder_comes_before_the_checkouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert conf_folder("annotate") == ROOT / "conf"
    assert folders("sweeps") == [ROOT / "sweeps"]
    here = tmp_path / "conf"
    here.mkdir()
    (here / "annotate.yaml").touch()
    assert conf_folder("annotate") == here
    assert conf_folder("purge") == ROOT / "conf"  # one's own does not hold it
    with pytest.raises(UserError, match=r"conf/nothing\.yaml: not found"):
        conf_folder("nothing")
