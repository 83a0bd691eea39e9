from pathlib import Path

from facesmith.media.pairing import pair_by_path


def pair(ours: list[str], theirs: list[str]):
    found = pair_by_path([Path(one) for one in ours], [Path(one) for one in theirs], lambda path: path.stem)
    return {str(a): str(b) for a, b in found.pairs.items()}, found


def test_pair_by_path_names_in_several_folders_keep_their_folders() -> None:
    pairs, found = pair(["out/a/scene.mp4", "out/b/scene.mp4"], ["in/b/scene.mov", "in/a/scene.mp4"])
    assert pairs == {"out/a/scene.mp4": "in/a/scene.mp4", "out/b/scene.mp4": "in/b/scene.mov"}
    assert (found.missing, found.stray, found.ambiguous) == ([], [], {})


def test_pair_by_path_single_name_in_another_folder_is_found() -> None:
    pairs, found = pair(["dances/old/one.mp4", "dances/two.mp4"], ["poses/one.mp4", "poses/three.mp4"])
    assert pairs == {"dances/old/one.mp4": "poses/one.mp4"}
    assert (found.missing, found.stray) == ([Path("dances/two.mp4")], [Path("poses/three.mp4")])


def test_pair_by_path_what_cannot_be_told_is_named() -> None:
    pairs, found = pair(["out/scene.mp4"], ["in/a/scene.mp4", "in/b/scene.mp4"])
    assert not pairs
    assert list(found.ambiguous) == [Path("out/scene.mp4")]
    pairs, found = pair(["x/a/scene.mp4", "x/b/scene.mp4"], ["y/a/scene.mp4"])
    assert pairs == {"x/a/scene.mp4": "y/a/scene.mp4"}
    assert found.missing == [Path("x/b/scene.mp4")]
