import errno
import stat
from pathlib import Path

import pytest

from facesmith.errors import DiskFullError, MediaError, UserError
from facesmith.files import atomic_write, name_full_disk, write_text


def test_atomic_write_failure_keeps_old_file(tmp_path):
    path = tmp_path / "deep" / "note.txt"
    write_text(path, "old")

    def fail():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_atomic_write_is_private_from_the_first_byte_on(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("of an earlier version")
    path.chmod(0o644)
    with atomic_write(path) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        temporary.write_text("new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_atomic_write_longest_name_is_written(tmp_path):
    path = tmp_path / f"{'n' * 251}.txt"
    write_text(path, "new")
    assert path.read_text() == "new"


def test_atomic_write_unwritable_explains_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written") as caught:
        write_text(tmp_path / "file" / "note.txt", "new")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "cause", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("No space left on device (os error 28)")]
)
def test_atomic_write_full_disk_behind_another_error_names_the_file(tmp_path, cause):
    path = tmp_path / "picture.png"

    def write():
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"half")
            raise MediaError(f"{temporary}: cannot be written") from cause

    with pytest.raises(DiskFullError, match=rf"^{path}: the disk is full"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_full_disk_without_a_file_name_names_the_folder(tmp_path):
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("this system has no device that is always full")
    with pytest.raises(DiskFullError, match=rf"^{tmp_path}: the disk is full"), name_full_disk(tmp_path):
        full.write_bytes(b"a crop")
