import numpy as np
import pytest

from facesmith.errors import UserError
from facesmith.media.images import write_image
from facesmith.tasks.evaluate.pairs import find_people, match_by_name, read_pairs


@pytest.fixture
def place(tmp_path):
    """Write empty pictures of a folder's names."""

    def write(folder, *names):
        for name in names:
            write_image(tmp_path / folder / name, np.zeros((8, 8, 3), np.uint8), mark=None)
        return str(tmp_path / folder)

    return write


def names(pairs):
    return [(pair.name, pair.target.path.stem, pair.person) for pair in pairs]


def test_match_by_name_of_target_and_source(place):
    people = find_people(place("sources", "ada.png", "bob_b.png"), "sources")
    swaps = place("swaps", "1_ada.png", "2_a_bob_b.png")
    pairs, unused = match_by_name(swaps, place("targets", "1.png", "2_a.png", "3.png"), people, "target_source")
    assert names(pairs) == [("1_ada", "1", "ada"), ("2_a_bob_b", "2_a", "bob_b")]
    assert unused == ["3.png"]
    swaps = place("others", "ada-to-1.png")
    assert names(match_by_name(swaps, place("targets"), people, "source-to-target")[0]) == [("ada-to-1", "1", "ada")]


def test_match_by_name_of_target_finds_the_only_source_that_of_its_name_or_of_its_folder(place):
    targets = place("targets", "1.png", "2.png")
    people = find_people(place("one", "ada/x.png", "ada/y.png"), "sources")
    assert names(match_by_name(place("swaps", "1.jpg"), targets, people, "target_source")[0]) == [("1", "1", "ada")]
    people = find_people(place("photos", "a.png", "b.png"), "sources", one_person=True)
    assert len(people["photos"].media) == 2
    assert names(match_by_name(place("swaps"), targets, people, "target_source")[0]) == [("1", "1", "photos")]
    people = find_people(place("two", "1.png", "2.png"), "sources")
    swaps = place("same", "1.png", "2.png")
    assert names(match_by_name(swaps, targets, people, "target_source")[0]) == [("1", "1", "1"), ("2", "2", "2")]
    people = find_people(place("three", "ada.png", "bob.png"), "sources")
    swaps = place("folders", "ada/1.png", "bob/1.png")
    found = names(match_by_name(swaps, targets, people, "target_source")[0])
    assert found == [("ada/1", "1", "ada"), ("bob/1", "1", "bob")]


def test_match_by_name_without_target_or_source_says_which(place):
    people = find_people(place("sources", "ada.png", "bob.png"), "sources")
    targets = place("targets", "1.png")
    with pytest.raises(UserError, match=r"task.swaps: 1 of 2 files have no target .* \(9_ada.png\)"):
        match_by_name(place("swaps", "1_ada.png", "9_ada.png"), targets, people, "target_source")
    with pytest.raises(UserError, match=r"task.swaps: 1 of 1 files have no source .* \(1_eve.png\)"):
        match_by_name(place("more", "1_eve.png"), targets, people, "target_source")


def test_read_pairs_takes_what_a_table_states(place, tmp_path):
    people = find_people(place("sources", "ada.png", "bob.png"), "sources")
    targets, swaps = place("targets", "1.png", "2.png"), place("swaps", "x/a.png", "y/a.png")
    table = tmp_path / "pairs.csv"
    table.write_text("swap,target,source\nx/a.png,1,ada.png\ny/a,2.png,bob\n")
    assert names(read_pairs(table, swaps, targets, people)[0]) == [("x/a", "1", "ada"), ("y/a", "2", "bob")]
    for line, message in (
        ("z.png,1,ada", "line 2: task.swaps has no z.png"),
        ("x/a,7,ada", "line 2: task.targets has no 7"),
        ("x/a,1,eve", "line 2: task.sources has no eve"),
        ("x/a", "line 2: task.targets has no name"),
    ):
        table.write_text(f"swap,target,source\n{line}\n")
        with pytest.raises(UserError, match=message):
            read_pairs(table, swaps, targets, people)
    table.write_text("swap,target\na,b\n")
    with pytest.raises(UserError, match="lacks source in its first line"):
        read_pairs(table, swaps, targets, people)


def test_find_people_of_a_missing_or_empty_folder_is_refused(place, tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        find_people(str(tmp_path / "none"), "gallery")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"task\.gallery.*no picture"):
        find_people(str(tmp_path / "empty"), "gallery")
