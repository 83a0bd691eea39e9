"""The form of a training becomes a command line; what cannot be started is one line, before anything starts."""

from pathlib import Path

import pytest

from facesmith.errors import UserError
from facesmith.studio.project import Project
from facesmith.studio.training import TYPES, TrainingForm, check, defaults_of, estimate, keys_of
from facesmith.studio.words import quote_value


@pytest.fixture
def photos(project: Project) -> Path:
    folder = project.root / "photos of ada's"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    return folder


def test_check_returns_only_what_differs_from_the_experiment(project: Project, photos: Path) -> None:
    epochs, batch, _ = defaults_of("identity")
    form = TrainingForm(name="ada", source=photos.name, consent="self", epochs=epochs, batch=batch)
    assert check(project, form) == [
        *("train", "experiment=identity", "data.name=ada"),
        *("data.source=photos of ada's", "data.consent=self"),
    ]
    more = TrainingForm(name="ada", source=photos.name, consent="self", epochs=2, hardware="low_memory", more="seed=7")
    assert check(project, more)[-3:] == ["trainer.max_epochs=2", "trainer=low_memory", "seed=7"]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"name": "Ada Lovelace"}, "name=Ada Lovelace: use lower-case letters"),
        ({"name": "../ada"}, r"name=\.\./ada: use lower-case"),
        ({"source": "/etc"}, "data.source=/etc: lies outside of the project"),
        ({"source": "../../etc"}, "lies outside of the project"),
        ({"source": "no_such"}, "data.source=no_such: there is no such file or folder"),
        ({"consent": ""}, "data.consent: required"),
        ({"epochs": -1.0}, "trainer.max_epochs=-1"),
        ({"epochs": 1.5}, "must be a whole number"),
        ({"more": "data.sizze=3"}, "data.sizze: no such key; did you mean data.size"),
        ({"more": "rm -rf"}, "write key=value"),
        ({"more": "hydra.run.dir=/tmp/x"}, "is not for this page"),
        ({"more": "paths.runs=/tmp/x"}, "is not for this page"),
        ({"more": "callbacks.render.folder=/tmp/x"}, "is not for this page"),
        ({"more": "data.targets=/etc/passwd"}, "data.targets=/etc/passwd: lies outside of the project"),
        ({"more": "data.face_sets=/etc"}, "data.face_sets=/etc: lies outside of the project"),
        ({"more": "callbacks.best={dirpath:/tmp/x}"}, "callbacks.best.dirpath=/tmp/x: lies outside of the project"),
        ({"more": "callbacks.best.filename=../../x"}, "callbacks.best.filename=.*: lies outside of the project"),
        ({"more": "callbacks.render._target_=x"}, "is not for this page"),
        ({"more": "tags=[${oc.env:HOME}]"}, "is not for this page"),
        ({"type": "nonsense"}, "type=nonsense: choose one of"),
    ],
)
def test_check_mistake_is_one_line(project: Project, photos: Path, fields: dict[str, object], line: str) -> None:
    given = {"name": "ada", "source": photos.name, "consent": "self", **fields}
    with pytest.raises(UserError, match=line):
        check(project, TrainingForm(**given))  # type: ignore[arg-type]


def test_symlink_out_of_the_project_is_refused(project: Project) -> None:
    (project.root / "link").symlink_to("/etc")
    with pytest.raises(UserError, match="lies outside of the project"):
        project.resolve("link/passwd", "file")


def test_keys_of_every_type_say_what_they_take_and_mean() -> None:
    for kind in TYPES:
        keys = keys_of(kind)
        assert keys["trainer.max_epochs"].takes == "whole number >= 0 and <= 1000000000"
        assert keys["trainer.max_epochs"].meaning.startswith("Passes over the training data")
        assert [name for name, key in keys.items() if not key.meaning] == []


def test_estimate_without_a_run_says_so(project: Project) -> None:
    assert "no run of this type has ended here yet" in estimate(project, "identity", 3)


def test_quote_value_survives_the_grammar(project: Project) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    for value in ("plain", "a b", "it's", "a,b", "[x]", "x=1", "ü", "7", "null", "{a:1}", "$x", "back\\slash"):
        parsed = OverridesParser.create().parse_override(f"key={quote_value(value)}").value()
        assert parsed == value
