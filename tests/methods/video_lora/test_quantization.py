"""Frozen weights, moments and what waits for the backward pass, smaller: what is trained still learns."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch.utils._pytree import tree_leaves

from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.quantization import bytes_per_weight, check_precision, quantization_config

from ...quiet_trainer import quiet_trainer

Settings = Callable[..., TrainConfig]

needs_torchao = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="needs torchao")
needs_bitsandbytes = pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes")


def fit_four_steps(
    config: TrainConfig, start: Path | None = None, save_to: Path | None = None
) -> tuple[list[float], Any]:
    """Train four steps; give the losses and the module."""

    class Losses(lightning.Callback):
        seen: list[float]

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            losses.append(float(outputs["loss"]))

    losses: list[float] = []
    lightning.seed_everything(3, verbose=False)
    trainer = quiet_trainer(
        max_epochs=1,
        callbacks=[Losses()],
        limit_val_batches=0,
    )
    module: Any = config.model.build()
    trainer.fit(module, config.data.build(), ckpt_path=start, weights_only=True)
    if save_to is not None:
        trainer.save_checkpoint(save_to)
    return losses, module


@pytest.fixture(scope="module")
def expected(demo: Settings, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Return the losses of the same steps with nothing made smaller."""
    return fit_four_steps(demo(tmp_path_factory.mktemp("whole")))[0]


@pytest.mark.parametrize(
    ("overrides", "close"),
    [
        (["model.base_storage=float8"], 0.1),
        pytest.param(["model.base_dtype=bfloat16"], 0.05, marks=pytest.mark.slow),
        (["model.offload=activations", "model.gradient_checkpointing=true", "model.stream_blocks=true"], 0.0),
        pytest.param(["model.base_storage=int8"], 0.05, marks=needs_torchao),
        pytest.param(["model.base_storage=int8", "model.injection=decoupled"], 0.05, marks=needs_torchao),
        pytest.param(["model.optimizer.kind=adamw_8bit"], 0.02, marks=needs_bitsandbytes),
    ],
    ids=["float8", "bfloat16", "activations_and_blocks", "int8", "int8_decoupled", "adamw_8bit"],
)
def test_smaller_storage_trains_nearly_as_full_precision(
    demo: Settings, tmp_path: Path, expected: list[float], overrides: list[str], close: float
) -> None:
    losses, module = fit_four_steps(demo(tmp_path, *overrides))
    trained = [value for name, value in module.transformer.named_parameters() if value.requires_grad]
    assert {value.dtype for value in trained} == {torch.float32}
    assert any(float(value.abs().sum()) > 0 for name, value in module.state_dict().items() if "lora_B" in name)
    assert len(losses) == len(expected)
    for one, other in zip(losses, expected, strict=True):
        assert one == (pytest.approx(other, rel=close) if close else other)


@needs_bitsandbytes
def test_adamw_8bit_resume_equals_uninterrupted(demo: Settings, tmp_path: Path) -> None:
    config = demo(tmp_path, "model.optimizer.kind=adamw_8bit")
    _, module = fit_four_steps(config, save_to=tmp_path / "one.ckpt")
    states = torch.load(tmp_path / "one.ckpt", weights_only=True)["optimizer_states"][0]["state"]
    assert torch.uint8 in {value.dtype for value in tree_leaves(states) if torch.is_tensor(value)}
    _, again = fit_four_steps(config, start=tmp_path / "one.ckpt")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in module.state_dict().items())


def test_quantization_config_missing_library_raises(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_base(str(base))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"base_storage=int8: needs torchao; pip install torchao, or use float8"):
        opened.load_transformer(torch.float32, storage="int8")
    monkeypatch.undo()
    if importlib.util.find_spec("bitsandbytes") is not None and not torch.cuda.is_available():
        with pytest.raises(UserError, match="base_storage=nf4: needs a CUDA GPU; use int8 here"):
            quantization_config("nf4", torch.float32)
    assert bytes_per_weight("as_computed", torch.bfloat16) == 2


@pytest.mark.parametrize(
    ("precision", "base_dtype", "mend"),
    [
        ("16-mixed", "bfloat16", "bf16-mixed"),
        ("bf16-mixed", "float16", "16-mixed"),
        ("bf16-true", "bfloat16", "bf16-mixed"),
        ("bf16-true", "float32", "32-true"),
        ("64-true", "auto", "32-true|bf16-mixed"),
    ],
)
def test_check_precision_other_than_the_base_raises(precision: str, base_dtype: str, mend: str) -> None:
    line = rf"^trainer.precision={precision}: .*model.base_dtype.*; set trainer.precision=({mend})$"
    with pytest.raises(UserError, match=line):
        check_precision(precision, base_dtype)


@pytest.mark.parametrize(
    "precision",
    ["32-true", "16-mixed", "bf16-mixed"],
)
def test_check_precision_takes_any_autocast_over_float32(precision: str) -> None:
    check_precision(precision, "float32")


def test_prepare_data_float16_over_bfloat16_raises_before_encoding(demo: Settings, tmp_path: Path) -> None:
    config = demo(tmp_path, "model.base_dtype=bfloat16", f"data.cache={tmp_path / 'cache'}")
    trainer = quiet_trainer(max_epochs=1, plugins=[MixedPrecision("16-mixed", "cpu")])  # precision= would become bf16
    with pytest.raises(UserError, match=r"trainer.precision=16-mixed: does not go with model.base_dtype=bfloat16"):
        trainer.fit(config.model.build(), config.data.build())
    assert not list(tmp_path.glob("cache/**/*.safetensors"))
