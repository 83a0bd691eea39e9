import pytest

from facesmith.errors import UserError
from facesmith.files import atomic_write, write_text


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


def test_atomic_write_unwritable_explains_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written") as caught:
        write_text(tmp_path / "file" / "note.txt", "new")
    assert "\n" not in str(caught.value)
