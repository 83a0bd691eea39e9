"""Checkpoints: whole or rejected, the newest good one is found, what killed processes left is swept."""

import os
from pathlib import Path

import pytest
import torch

from facesmith.errors import UserError
from facesmith.training.checkpoint_io import VerifiedCheckpointIO
from facesmith.training.run.checkpoint_files import find_damage, find_newest_checkpoint, remove_stale_files


def save(path: Path, value: float, **more: object) -> Path:
    """Save through the plugin a training uses."""
    state = {"state_dict": {"w": torch.full((64, 64), value)}, "optimizer_states": [], **more}
    VerifiedCheckpointIO().save_checkpoint(state, path)
    return path


def flip(path: Path, at: float) -> None:
    """Change one bit of a file, at a share of its length."""
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 1
    times = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_checkpoint_saved_loads_and_previous_stays(tmp_path: Path) -> None:
    last = save(tmp_path / "checkpoints/last.ckpt", 1.0)
    save(last, 2.0)
    io = VerifiedCheckpointIO()
    assert io.load_checkpoint(last)["state_dict"]["w"][0, 0] == 2
    assert io.load_checkpoint(last.with_name("previous.ckpt"))["state_dict"]["w"][0, 0] == 1
    assert sorted(p.name for p in last.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]


def test_find_damage_one_flipped_bit_is_found(tmp_path: Path) -> None:
    path = save(tmp_path / "checkpoints/last.ckpt", 1.0)
    assert find_damage(path) is None
    flip(path, 0.5)
    assert torch.load(path, weights_only=True)["state_dict"]["w"].unique().numel() == 2
    assert "checksum" in str(find_damage(path))
    with pytest.raises(UserError, match=r"last\.ckpt: is damaged \(the checksum of .* is wrong\)"):
        VerifiedCheckpointIO().load_checkpoint(path)


@pytest.mark.parametrize("length", [0, 10, 3000, -30])
def test_find_damage_cut_file_is_found(tmp_path: Path, length: int) -> None:
    path = save(tmp_path / "checkpoints/last.ckpt", 1.0)
    path.write_bytes(path.read_bytes()[:length])
    assert find_damage(path) is not None


def test_find_newest_checkpoint_skips_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    assert find_newest_checkpoint(tmp_path).path is None
    save(folder / "epoch_0010.ckpt", 0.0)
    save(folder / "last.ckpt", 1.0)
    save(folder / "last.ckpt", 2.0)
    assert find_newest_checkpoint(tmp_path) == (folder / "last.ckpt", [])
    flip(folder / "last.ckpt", 0.4)
    path, rejected = find_newest_checkpoint(tmp_path)
    assert path == folder / "previous.ckpt"
    assert len(rejected) == 1
    assert "last.ckpt: is damaged" in rejected[0]
    (folder / "previous.ckpt").write_bytes(b"")
    path, rejected = find_newest_checkpoint(tmp_path)
    assert path == folder / "epoch_0010.ckpt"
    assert len(rejected) == 2


def test_find_newest_checkpoint_skips_weights_alone(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints/weights.ckpt"
    path.parent.mkdir()
    torch.save({"state_dict": {}}, path)
    assert find_newest_checkpoint(tmp_path) == (None, [])


def test_remove_checkpoint_removes_none_of_another_folder(tmp_path: Path) -> None:
    mine, other, notes = (tmp_path / name for name in ("run/a.ckpt", "other/b.ckpt", "run/notes.txt"))
    for path in (mine, other, notes):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    io = VerifiedCheckpointIO()
    for path in (mine, mine.parent / ".." / "other" / "b.ckpt", notes):
        io.remove_checkpoint(path)
    assert not mine.exists()
    assert other.exists()
    assert notes.exists()


def test_remove_stale_files_removes_nothing_else(tmp_path: Path) -> None:
    stale = [tmp_path / "checkpoints/.last.0123abcd.tmp.ckpt", tmp_path / "exports/.ada.fedcba98.tmp.onnx"]
    kept = [tmp_path / "checkpoints/last.ckpt", tmp_path / ".hydra/lock", tmp_path / ".notes.tmp"]
    for path in [*stale, *kept]:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    remove_stale_files(tmp_path)
    assert [path.exists() for path in [*stale, *kept]] == [False] * 2 + [True] * 3


def test_checkpoint_failed_save_leaves_last_good_one(tmp_path: Path) -> None:
    path = save(tmp_path / "checkpoints/last.ckpt", 1.0)
    with pytest.raises(TypeError, match="pickle"):
        VerifiedCheckpointIO().save_checkpoint({"w": (x for x in ())}, path)
    assert find_newest_checkpoint(tmp_path) == (path, [])
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]
