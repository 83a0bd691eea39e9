from datetime import date, timedelta
from pathlib import Path

import pytest

from facesmith.config.consent import require_current
from facesmith.errors import UserError
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.models.onnx.info import SwapperInfo
from facesmith.tasks.profiles.combine import BlendTask

from ..faces.profiles.test_profile import make


def test_require_current_last_day_still_holds() -> None:
    require_current(date.today().isoformat(), "x", "ada")
    require_current(None, "x", "ada")
    with pytest.raises(UserError, match=r"a\.onnx: the consent of ada ended on .*purge name=ada"):
        require_current((date.today() - timedelta(days=1)).isoformat(), "a.onnx", "ada")
    with pytest.raises(UserError, match="no date"):
        require_current("soon", "a.onnx", "ada")


def test_profile_of_ended_consent_is_refused_in_a_blend_and_can_be_listed(tmp_path: Path) -> None:
    paths = [tmp_path / "ada.json", tmp_path / "bob.json"]
    make(expires="2020-01-31").save(paths[0])
    make(id="bob", name="Bob").save(paths[1])
    with pytest.raises(UserError, match=r"ada\.json: the consent of ada ended on 2020-01-31"):
        BlendTask(source=[str(path) for path in paths], output=tmp_path / "c.json", name="c", weights=None,
                  profiles=tmp_path)  # fmt: skip
    assert IdentityProfile.load(paths[0], expired="allow").expires == "2020-01-31"


def test_model_of_ended_consent_is_refused() -> None:
    info = SwapperInfo("arcface_128", 64, identity="ada", consent="self", expires="2020-01-31")
    with pytest.raises(UserError, match=r"ada\.onnx: the consent of ada ended"):
        SwapperInfo.from_metadata(info.metadata(), "ada.onnx")
    lasting = SwapperInfo("arcface_128", 64, identity="ada", consent="self", expires="2999-01-31")
    assert SwapperInfo.from_metadata(lasting.metadata(), "ada.onnx").expires == "2999-01-31"
    older = {key: value for key, value in info.metadata().items() if key != "expires"}
    assert SwapperInfo.from_metadata(older, "ada.onnx").expires == ""
