"""Where results are written: names that collide, are too long, or need another container."""

import pytest

from facesmith.errors import UserError
from facesmith.files import partial_folder, write_text
from facesmith.media.sources import Media
from facesmith.tasks.swap.outputs import output_paths


def paths(tmp_path, *names, **options):
    folder = tmp_path / "in"
    folder.mkdir(exist_ok=True)
    media = []
    for name in names:
        (folder / name).touch()
        media.append(Media(folder / name, "image" if name.endswith((".png", ".jpg")) else "video"))
    return [path.name for path in output_paths(media, str(folder), tmp_path / "out", **options)]


def test_output_paths_two_sources_of_one_result_are_named(tmp_path):
    with pytest.raises(
        UserError, match=r"scene\.avi\.mp4: would be written from both .*scene\.avi and .*scene\.avi\.mp4"
    ):
        paths(tmp_path, "scene.avi", "scene.avi.mp4")


def test_output_paths_names_that_differ_in_case_are_told(tmp_path):
    with pytest.raises(UserError, match="written from both"):
        paths(tmp_path, "Scene.mp4", "scene.MP4")


def test_output_paths_suffix_is_that_of_all_videos(tmp_path):
    assert paths(tmp_path, "a.mp4", "b.ts", "c.png", suffix=".mkv") == ["a.mkv", "b.mkv", "c.png"]
    both = paths(tmp_path, "d.mp4", "d.mov", "e.avi", suffix=".mkv")
    assert both == ["d.mp4.mkv", "d.mov.mkv", "e.mkv"]


def test_output_paths_codec_decides_where_nothing_is_said(tmp_path):
    assert paths(tmp_path, "a.mp4", "b.mov", usable=(".mov", ".mkv")) == ["a.mp4.mov", "b.mov"]


def test_output_paths_longest_names_can_be_written(tmp_path):
    name = "n" * 240 + ".mp4"
    assert paths(tmp_path, name) == [name]
    partial = partial_folder(tmp_path / name)
    partial.mkdir()
    assert partial.name.endswith(".partial")
    write_text(tmp_path / ("t" * 251 + ".txt"), "whole")
    assert (tmp_path / ("t" * 251 + ".txt")).read_text() == "whole"
    with pytest.raises(UserError, match="a name may have 255 bytes here"):
        paths(tmp_path, "n" * 250 + ".avi")
