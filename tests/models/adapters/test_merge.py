"""Adapters laid on their base: one, several, none that belongs to another."""

import copy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

from facesmith.config.adapters import LoraSettings
from facesmith.errors import UserError
from facesmith.models.adapters.card import BaseReference
from facesmith.models.adapters.lora import add_lora, base_hash, lora_state
from facesmith.models.adapters.merge import merge_adapters
from facesmith.models.adapters.spec import load_adapters
from facesmith.models.adapters.store import save_adapter

from .test_store import PICTURE, Net, card

BASE = Path("last.ckpt")


def adapter(folder, seed, net=None, targets=None, **kind):
    """Write an adapter of `Net` that changes something, and give its network."""
    net = net or Net()
    kind = {"rslora": False, "dora": False, **kind}
    base = BaseReference("runs/ada/last.ckpt", base_hash(net), "checkpoint", "Net", "sface")
    layers = add_lora(net, LoraSettings(rank=4, alpha=2.0, dropout=0.0, targets=targets, **kind))
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if "lora_" in name:
                value.add_(torch.randn_like(value) / 5)
    save_adapter(folder, lora_state(net), card(base=base, rank=4, alpha=2.0, targets=tuple(layers), **kind))
    return net


@pytest.mark.parametrize("kind", [{}, {"rslora": True}, {"dora": True}], ids=["lora", "rslora", "dora"])
def test_merge_adapters_one_equals_trained_and_scale_zero_base(tmp_path, kind):
    net = adapter(tmp_path / "a", 1, **kind)
    with torch.no_grad():
        whole = merge_adapters(Net(), load_adapters(tmp_path / "a", None, 1.0), BASE)
        assert (whole(PICTURE) - net(PICTURE)).abs().max() < 1e-6
        assert (whole(PICTURE) - Net()(PICTURE)).abs().max() > 1e-3
        if not kind.get("dora"):
            none = merge_adapters(Net(), load_adapters(tmp_path / "a", None, 0.0), BASE)
            assert torch.equal(none(PICTURE), Net()(PICTURE))


def test_merge_adapters_several_equal_peft_cat(tmp_path):
    nets = [adapter(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 2))]
    theirs = get_peft_model(Net(), LoraConfig(r=4, lora_alpha=2, target_modules=["know"]), "a")
    theirs.add_adapter("b", LoraConfig(r=4, lora_alpha=2, target_modules=["know"]))
    for name, net in zip("ab", nets, strict=True):
        own = theirs.base_model.model.know
        for part in ("lora_A", "lora_B"):
            getattr(own, part)[name].load_state_dict(getattr(net.know, part)["default"].state_dict())
    theirs.add_weighted_adapter(["a", "b"], [0.7, 0.3], "mixed", combination_type="cat")
    theirs.set_adapter("mixed")
    ours = merge_adapters(Net(), load_adapters([tmp_path / "a", tmp_path / "b"], [0.7, 0.3], 1.0), BASE)
    given = torch.rand(3, 4)
    with torch.no_grad():
        assert (ours.know(given) - theirs.base_model.model.know(given)).abs().max() < 1e-6
        change = [net.see.get_delta_weight("default") for net in nets]
        assert (ours.see.weight - Net().see.weight - 0.7 * change[0] - 0.3 * change[1]).abs().max() < 1e-6


def test_load_adapters_without_weights_shares_equally(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        adapter(tmp_path / name, seed)
    pair = [tmp_path / "a", tmp_path / "b"]
    assert load_adapters(pair, None, 1.0).weights == (0.5, 0.5)
    assert load_adapters(None, None, 1.0) is None
    assert load_adapters([], None, 1.0) is None
    one = merge_adapters(Net(), load_adapters(pair, None, 0.5), BASE)
    other = merge_adapters(Net(), load_adapters(pair, [0.25, 0.25], 1.0), BASE)
    assert torch.allclose(one.know.weight, other.know.weight, atol=1e-7)


def test_adapter_spec_name_slug_and_facts(tmp_path):
    adapter(tmp_path / "a", 1)
    adapters = load_adapters(tmp_path / "a", None, 0.8)
    assert adapters.name == f"ada/stage {adapters.cards[0].weights[:12]} x 0.8"
    assert adapters.slug == "stage"
    assert adapters.facts() != load_adapters(tmp_path / "a", None, 0.7).facts()


def error_message(work) -> str:
    with pytest.raises(UserError) as error:
        work()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_merge_adapters_wrong_base_raises(tmp_path):
    adapter(tmp_path / "a", 1)
    torch.manual_seed(9)
    other = Net()
    with torch.no_grad():
        other.know.bias.add_(1)
    adapter(tmp_path / "b", 2, copy.deepcopy(other))
    one = load_adapters(tmp_path / "a", None, 1.0)
    assert error_message(lambda: merge_adapters(other, one, BASE)).startswith(
        f"adapter={tmp_path / 'a'}: was made for runs/ada/last.ckpt (weights "
    )
    assert "only adapters of one base can be mixed" in error_message(
        lambda: load_adapters([tmp_path / "a", tmp_path / "b"], None, 1.0)
    )
    assert "1 weights for 2 adapters" in error_message(
        lambda: load_adapters([tmp_path / "a", tmp_path / "a"], [1.0], 1.0)
    )
    net = Net()
    state_ = get_peft_model_state_dict(adapter(tmp_path / "c", 3, net))
    state_.pop("see.lora_A.weight")
    save_adapter(tmp_path / "c", state_, load_adapters(tmp_path / "c", None, 1.0).cards[0])
    assert "does not fit runs/ada/last.ckpt" in error_message(
        lambda: merge_adapters(Net(), load_adapters(tmp_path / "c", None, 1.0), BASE)
    )
