import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesmith.errors import UserError
from facesmith.media.images import write_image
from facesmith.media.sources import find_media

from .stamped import picture


@pytest.fixture
def folder(tmp_path, make_video):
    root = tmp_path / "media"
    for name in ("img10.png", "img2.PNG", "nested/deep/a.jpg", ".hidden.jpg", ".cache/b.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_image((root / name).with_suffix((root / name).suffix.lower()), picture(1), mark=None)
    (root / "img2.png").rename(root / "img2.PNG")
    (root / "clip.mp4").write_bytes(make_video("short.mp4", 3).read_bytes())
    pages = [Image.fromarray(picture(i)) for i in range(3)]
    pages[0].save(root / "moving.gif", save_all=True, append_images=pages[1:])
    pages[0].save(root / "still.gif")
    (root / "notes.txt").write_text("x")
    return root


def test_find_media_folder_is_in_natural_order(folder):
    found = find_media(folder)
    names = [str(media.path.relative_to(folder)) for media in found]
    assert names == ["clip.mp4", "img2.PNG", "img10.png", "moving.gif", "nested/deep/a.jpg", "still.gif"]
    assert [media.kind for media in found] == ["video", "image", "image", "video", "image", "image"]
    assert [path.name for path in found.skipped] == ["notes.txt"]


def test_find_media_globs_files_lists_and_assets(folder):
    assert [m.path.name for m in find_media(str(folder / "*.png"))] == ["img10.png"]
    assert [m.path.name for m in find_media(str(folder / "**" / "*.jpg"))] == ["a.jpg"]
    found = find_media([folder / "img10.png", str(folder), "asset:astronaut.png"])
    assert len(found) == 7
    assert found[0].path.name == "img10.png"
    assert found[-1].path.name == "astronaut.png"


def test_find_media_unknown_suffix_is_sniffed(folder, tmp_path):
    odd = tmp_path / "photo"
    odd.write_bytes((folder / "img10.png").read_bytes())
    clip = tmp_path / "clip.bin"
    clip.write_bytes((folder / "clip.mp4").read_bytes())
    assert [m.kind for m in find_media([odd, clip])] == ["image", "video"]


def test_find_media_nothing_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    cases = {
        str(tmp_path / "empty"): "no image or video found",
        str(tmp_path / "absent"): "no such file or folder",
        str(tmp_path / "*.jpg"): "no such file or folder",
        str(folder / "notes.txt"): "such as notes.txt",
    }
    for source, words in cases.items():
        with pytest.raises(UserError, match=words) as caught:
            find_media(source)
        assert source in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="empty"):
        find_media([])


@pytest.mark.parametrize("source", ["", " ", [], ["photos", ""]])
def test_find_media_empty_name_is_not_the_working_folder(source):
    with pytest.raises(UserError, match="is empty"):
        find_media(source)


def test_find_media_pipes_and_broken_links_are_skipped_and_told(folder, caplog):
    os.mkfifo(folder / "pipe.mp4")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    found = find_media(folder)
    assert len(found) == 6
    reasons = {path.name: reason for path, reason in found.skipped.items()}
    assert "is a pipe" in reasons["pipe.mp4"]
    assert "No such file" in reasons["gone.jpg"]
    assert len(caplog.records) == 2
    for source in ("pipe.mp4", "*.mp4/../pipe.mp4"):
        with pytest.raises(UserError, match=r"pipe|no such"):
            find_media(folder / source)


def test_find_media_name_that_is_not_utf8_is_skipped(folder):
    odd = Path(os.fsdecode(bytes(folder) + b"/f\xfcr.png"))
    odd.write_bytes((folder / "img10.png").read_bytes())
    found = find_media(folder)
    assert len(found) == 6
    assert "not UTF-8" in found.skipped[odd]
    with pytest.raises(UserError, match=r"f\\xfcr\.png: its name is not UTF-8"):
        find_media(odd)


def test_find_media_results_within_the_source_are_none(folder):
    (folder / "swapped" / "more").mkdir(parents=True)
    (folder / "old.mp4.partial").mkdir()
    for place in ("swapped/more/a.png", "old.mp4.partial/segment_00000.png"):
        (folder / place).write_bytes((folder / "img10.png").read_bytes())
    assert len(find_media(folder, output=folder / "swapped")) == 6
    assert len(find_media(folder, output=folder / "clip.mp4")) == 6
    assert len(find_media(folder)) == 7


@pytest.mark.parametrize("name", ["[set] 01", "a*b", "d'or", "100% {x}", "\u30d5\u30a9\u30c8"])
def test_find_media_folders_with_special_characters(folder, tmp_path, name):
    place = tmp_path / name
    place.mkdir()
    (place / "IMG (1).png").write_bytes((folder / "img10.png").read_bytes())
    for source in (place, f"{place}/*.png", f"{place}/IMG (1).png"):
        assert [media.path.name for media in find_media(source)] == ["IMG (1).png"]


def test_find_media_bad_files_are_listed(tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "bad.gif").write_bytes(b"")
    write_image(tmp_path / "good.png", np.zeros((8, 8, 3), np.uint8), mark=None)
    assert len(find_media(tmp_path)) == 3
