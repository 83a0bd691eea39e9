import numpy as np
import pytest

from facesmith.media.images import write_image
from facesmith.media.sources import Media
from facesmith.tasks.evaluate.pairs import Person
from facesmith.tasks.evaluate.people import KnownPerson
from facesmith.tasks.evaluate.people_store import PeopleStore


@pytest.fixture
def person(tmp_path):
    path = tmp_path / "ada.png"
    write_image(path, np.zeros((8, 8, 3), np.uint8), mark=None)
    return Person("ada", (Media(path, "image"),))


def known():
    rng = np.random.default_rng(0)
    embeddings = {name: rng.normal(size=size).astype(np.float32) for name, size in (("sface", 128), ("dlib", 128))}
    shapes = rng.random((2, 478, 3)).astype(np.float32), rng.random((2, 52)).astype(np.float32)
    return KnownPerson("ada", embeddings, (b"one", b"other"), *shapes, frozenset({"f00"}), ("a note",), crowded=True)


def test_people_store_gives_back_what_it_kept_to_its_owner_alone(person, tmp_path):
    store = PeopleStore(tmp_path / "people", ["analyzer", ["sface", "dlib"], 16], resume=True)
    assert store.load(person) is None
    store.save(person, known())
    found, was = (
        PeopleStore(tmp_path / "people", ["analyzer", ["sface", "dlib"], 16], resume=True).load(person),
        known(),
    )
    assert (found.name, found.pictures, found.digests) == (was.name, was.pictures, was.digests)
    assert (found.notes, found.crowded) == (was.notes, was.crowded)
    assert list(found.embeddings) == ["sface", "dlib"]
    for name in found.embeddings:
        np.testing.assert_array_equal(found.embeddings[name], was.embeddings[name])
    np.testing.assert_array_equal(found.landmarks, was.landmarks)
    np.testing.assert_array_equal(found.blendshapes, was.blendshapes)
    assert [path.stat().st_mode & 0o077 for path in (tmp_path / "people", *(tmp_path / "people").iterdir())] == [0, 0]


def test_people_store_of_other_files_settings_or_damage_knows_nobody(person, tmp_path):
    folder, settings = tmp_path / "people", ["analyzer", ["sface"], 16]
    PeopleStore(folder, settings, resume=True).save(person, known())
    assert PeopleStore(folder, settings, resume=False).load(person) is None
    assert PeopleStore(folder, ["analyzer", ["sface"], 4], resume=True).load(person) is None
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"\x80\x04K\x01."):
        file.write_bytes(content)
        assert PeopleStore(folder, settings, resume=True).load(person) is None
    file.write_bytes(whole)
    write_image(person.media[0].path, np.ones((9, 9, 3), np.uint8), mark=None)
    assert PeopleStore(folder, settings, resume=True).load(person) is None
