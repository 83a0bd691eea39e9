"""LoRA on real generators: it changes nothing at first, comes off, goes back, and merges."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from facesmith.config.adapters import LoraSettings
from facesmith.errors import UserError
from facesmith.models.adapters.lora import (
    add_lora,
    base_hash,
    layers_of,
    load_lora_state,
    lora_state,
    merge_lora,
    without_lora,
)
from facesmith.models.swapper.aad import Aad

from ...small_swapper import astronaut_face, crops, small_mesh_warp


def settings(**changed: object) -> LoraSettings:
    plain = {"rank": 8, "alpha": None, "dropout": 0.0, "rslora": False, "dora": False, "targets": None}
    return LoraSettings.model_validate({**plain, **changed})


def aad() -> nn.Module:
    torch.manual_seed(0)
    return Aad(64, 16, [8, 16, 24], [32, 24, 16], 1, 1, 16).eval()


GENERATORS = [pytest.param(small_mesh_warp, id="mesh_warp"), pytest.param(aad, id="aad")]
Make = Callable[[], nn.Module]


def answer(generator: nn.Module) -> Tensor:
    torch.manual_seed(1)
    target = torch.cat([crops(astronaut_face()), torch.rand(1, 3, 64, 64) * 2 - 1])
    source = nn.functional.normalize(torch.randn(2, 16))
    with torch.no_grad():
        output = generator(target, source)
    return torch.cat([output.face, output.mask], 1)


def learnt(generator: nn.Module) -> None:
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in generator.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)


@pytest.mark.parametrize("make", GENERATORS)
def test_add_lora_untrained_changes_nothing_and_freezes(make: Make) -> None:
    generator = make()
    before, hashed = answer(generator), base_hash(generator)
    layers = add_lora(generator, settings())
    assert layers
    assert torch.allclose(answer(generator), before, atol=1e-6)
    assert base_hash(generator) == hashed
    trained = {name for name, parameter in generator.named_parameters() if parameter.requires_grad}
    assert trained
    assert all(".lora_" in name for name in trained)
    assert sum(v.numel() for v in lora_state(generator).values()) == sum(
        p.numel() for p in generator.parameters() if p.requires_grad
    )


@pytest.mark.parametrize("make", GENERATORS)
@pytest.mark.parametrize("kind", [{}, {"alpha": 32.0}, {"rslora": True, "alpha": 4.0}, {"dora": True}])
def test_merge_lora_equals_lora_and_keeps_base(make: Make, kind: dict[str, object]) -> None:
    generator = make()
    before, hashed = answer(generator), base_hash(generator)
    add_lora(generator, settings(**kind))
    learnt(generator)
    with_lora = answer(generator)
    assert not torch.allclose(with_lora, before, atol=1e-3)
    plain = merge_lora(generator)
    assert not any(".lora_" in name for name in plain.state_dict())
    assert set(plain.state_dict()) == set(make().state_dict())
    assert torch.allclose(answer(plain), with_lora, atol=2e-5)
    assert base_hash(generator) == hashed
    with without_lora(generator):
        assert torch.equal(answer(generator), before)
    assert torch.equal(answer(generator), with_lora)
    assert all(parameter.requires_grad for name, parameter in generator.named_parameters() if ".lora_" in name)


@pytest.mark.parametrize("make", GENERATORS)
def test_load_lora_state_into_copy_equals_original(make: Make) -> None:
    generator, other = make(), make()
    add_lora(generator, settings(alpha=16.0))
    learnt(generator)
    add_lora(other, settings(alpha=16.0))
    load_lora_state(other, lora_state(generator))
    assert torch.equal(answer(other), answer(generator))
    third = make()
    add_lora(third, settings(rank=4))
    with pytest.raises(UserError, match="does not fit this base"):
        load_lora_state(third, lora_state(generator))


def test_merge_lora_scale_interpolates() -> None:
    generator = aad()
    before = answer(generator)
    add_lora(generator, settings())
    learnt(generator)
    whole, half = answer(generator), answer(merge_lora(generator, 0.5))
    assert torch.allclose(answer(merge_lora(generator, 0.0)), before, atol=1e-6)
    assert (half - before).norm() < (whole - before).norm()


def test_add_lora_rank_is_capped_by_layer() -> None:
    generator = small_mesh_warp()
    layers = add_lora(generator, settings(rank=32))
    ranks = {name: lora_state(generator)[f"{name}.lora_A.weight"].shape[0] for name in layers}
    assert ranks["relight.offset"] == 3
    assert ranks["relight.stem.0"] == 4


def test_layers_of_targets_match_names_and_parts() -> None:
    generator = aad()
    assert layers_of(generator, ["face"]) == ["face"]
    assert layers_of(generator, ["convolutions"]) == [f"blocks.{i}.convolutions.0" for i in range(3)]
    assert all(name.startswith("blocks.1.") for name in layers_of(generator, ["blocks.1"]))
    assert not any(name.startswith("encoder") for name in layers_of(generator, None))
    assert len(layers_of(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Linear(3, 3)), None)) == 2
    with pytest.raises(UserError, match=r"^model\.targets: no layer is called convolution; did you mean convolutions"):
        layers_of(generator, ["convolution"])
    with pytest.raises(UserError, match=r"choose of .*blocks"):
        layers_of(generator, ["xyzzy"])


def test_base_hash_changes_with_weights_and_buffers() -> None:
    first, second = small_mesh_warp(), small_mesh_warp()
    assert base_hash(first) == base_hash(second)
    second.get_buffer("pictures")[0, 0, 0, 0] += 1
    assert base_hash(first) != base_hash(second)
