"""`last.ckpt` is saved as often as its size allows."""

from pathlib import Path
from typing import Any

import pytest

from facesmith.training.callbacks import checkpoints
from facesmith.training.callbacks.checkpoints import SaveLast


class FakeTrainer:
    """Writes checkpoints of a megabyte."""

    world_size, global_step = 1, 0

    def save_checkpoint(self, path: Path) -> None:
        path.write_bytes(bytes(1_000_000))


def test_save_last_large_checkpoints_are_saved_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    trainer: Any = FakeTrainer()
    saves = {}
    for most in (None, 1e4):
        last = SaveLast(tmp_path, 30.0, None, most)
        now[0] = 0.0
        last.on_train_start(trainer, None)  # type: ignore[arg-type]
        times = []
        while now[0] < 400:
            now[0] += 10
            if last._is_due(trainer):
                last._save(trainer)
                times.append(now[0])
        saves[most] = times
    assert saves[None] == [30.0 * k for k in range(1, 14)]
    assert saves[1e4] == [30.0, 130.0, 230.0, 330.0]
