"""Adapter folders, held against peft itself."""

import json

import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from torch import nn

from facesmith.config.adapters import LoraSettings
from facesmith.errors import UserError
from facesmith.models.adapters.card import CARD, AdapterCard, BaseReference, Consent, Scene
from facesmith.models.adapters.lora import add_lora
from facesmith.models.adapters.store import CONFIG, WEIGHTS, load_adapter, save_adapter


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.see = nn.Conv2d(3, 4, 3, padding=1)
        self.know = nn.Linear(4, 5)

    def forward(self, picture):
        return self.know(self.see(picture).mean((2, 3)))


PICTURE = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def card(**more) -> AdapterCard:
    facts = {
        "base": BaseReference("runs/ada/last.ckpt", "0" * 64, "checkpoint", "Net", "sface"),
        "scene": Scene("5cene", "stage"),
        "identity": "ada",
        "face_set": "face5",
        "consent": Consent("ada", "written", "2026-11-22", "for the play"),
        "rank": 5,
        "alpha": 3.0,
        "rslora": False,
        "dora": False,
        "targets": ("see", "know"),
        "steps": 7,
        "figures": {"val/judge_distance": 0.4},
    }
    return AdapterCard(**{**facts, **more})


@pytest.fixture(params=["lora", "rslora", "dora"])
def adapted(request):
    """Return a network that changes something, and the card of its LoRA."""
    kind = {"rslora": request.param == "rslora", "dora": request.param == "dora"}
    settings = LoraSettings(rank=5, alpha=3.0, dropout=0.0, targets=None, **kind)
    net = Net()
    add_lora(net, settings)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if "lora_" in name:
                value.add_(torch.rand(value.shape, generator=torch.Generator().manual_seed(len(name))) / 9)
    return net, card(**kind)


def test_save_adapter_is_read_by_peft(adapted, tmp_path):
    net, said = adapted
    folder = tmp_path / "adapter"
    written = save_adapter(folder, get_peft_model_state_dict(net), said)
    theirs = PeftModel.from_pretrained(Net(), str(folder))
    with torch.no_grad():
        assert (theirs(PICTURE) - net(PICTURE)).abs().max() == 0
        assert (theirs(PICTURE) - Net()(PICTURE)).abs().max() > 1e-3
    assert {(p.name, p.stat().st_mode & 0o777) for p in folder.iterdir()} == {
        (name, 0o600) for name in (WEIGHTS, CONFIG, CARD)
    }
    assert folder.stat().st_mode & 0o777 == 0o700
    state, read = load_adapter(folder)
    assert read == written
    assert read.targets == ("see", "know")
    known = get_peft_model_state_dict(net)
    assert state.keys() == known.keys()
    assert all(torch.equal(state[name], known[name]) for name in known)


def test_adapter_card_scaling_equals_peft(adapted):
    net, said = adapted
    assert net.see.r["default"] == 4  # it has no more
    assert net.see.scaling["default"] == net.know.scaling["default"] == pytest.approx(said.scaling)


def error_message(folder) -> str:
    with pytest.raises(UserError) as error:
        load_adapter(folder)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"adapter={folder}: ")
    return str(error.value)


def test_load_adapter_damaged_folder_raises(tmp_path):
    assert "no such folder" in error_message(tmp_path / "none")
    (tmp_path / CONFIG).write_text("{}")
    assert f"is no adapter: it holds no {CARD}" in error_message(tmp_path)
    folder = tmp_path / "adapter"
    save_adapter(folder, {"see.lora_A.weight": torch.zeros(2, 3, 3, 3)}, card())
    said = json.loads((folder / CARD).read_text())
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[:-1])
    assert f"{WEIGHTS} is not the file that {CARD} was written for" in error_message(folder)
    (folder / WEIGHTS).unlink()
    assert f"{WEIGHTS} cannot be read" in error_message(folder)
    (folder / CARD).write_text(json.dumps({**said, "rank": "two"}))
    assert f"{CARD} is damaged: rank: " in error_message(folder)
    (folder / CARD).write_text(json.dumps({**said, "more": 1}))
    assert f"{CARD} is damaged: more: " in error_message(folder)
    (folder / CARD).write_text("{")
    assert f"{CARD} is damaged: " in error_message(folder)
