import json
import os
import socket
import stat
import struct
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from filelock import FileLock
from skimage import data

from facesmith.cli.main import main as command_line
from facesmith.cli.purge import CONSENT_EXPIRED
from facesmith.faces.profiles.profile import Ancestor, IdentityProfile
from facesmith.media.images import write_image
from facesmith.media.provenance import Mark
from facesmith.purge.artefacts import OF_EVALUATIONS
from facesmith.purge.face_sets import traces_in_face_sets
from facesmith.training.run.record import RunRecord


def main(arguments):
    """Run `facesmith purge`."""
    return command_line(["purge", *arguments])


def face_set(folder, name, key, contents, people="one", expires=None):
    (folder / "crops").mkdir(parents=True)
    (folder / "training").mkdir()
    (folder / "crops" / "0.jpg").write_bytes(b"jpeg of a face")
    (folder / "training" / "pairs.npz").write_bytes(b"pairs")
    meta = {"key": key, "name": name, "kept": 7, "settings": {"people": people}, "expires": expires}
    meta["sources"] = [{"path": "x", "sha256": content} for content in contents]
    (folder / "meta.json").write_text(json.dumps(meta))


def run(folder, name, *, checkpoint=None, init_from=None, wandb_id=None, status="completed", cache=None):
    (folder / "checkpoints").mkdir(parents=True)
    settings = {"data": {"name": name, "cache": cache}, "model": {"init_from": init_from}}
    record = {"status": status, "settings": settings, "wandb_id": wandb_id}
    (folder / "run.json").write_text(json.dumps(record))
    if checkpoint is not None:
        content = {"facesmith": {"provenance": checkpoint, "settings": {}, "version": "0"}, "state_dict": {}}
        torch.save(content, folder / "checkpoints" / "last.ckpt")


def profile(folder, id, face_set, **more):
    mean = np.eye(8, dtype=np.float32)[0]
    fields = {"id": id, "embedder": "sface", "embedding_mean": mean, "embedding_std": mean * 0, "num_frames": 1}
    IdentityProfile.create(**fields, face_set=face_set, consent="self", **more).save(folder / f"{id}.json")


def model(path, swapper_file, **said):
    import onnx

    graph = onnx.load(str(swapper_file))
    onnx.helper.set_model_props(graph, {p.key: p.value for p in graph.metadata_props} | said)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, str(path))
    path.with_suffix(".hash").write_text("0123abcd")


def tensors(path, **said):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"__metadata__": said}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


@pytest.fixture
def world(tmp_path, monkeypatch, swapper_file):
    """Ada everywhere she can be, and Bob, who stays."""
    monkeypatch.chdir(tmp_path)
    sets, runs, exports, profiles = (tmp_path / name for name in ("face_sets", "runs", "exports", "profiles"))
    face_set(sets / "ada" / "aaaa", "ada", "key-ada", ["c1"], expires="2026-01-31")
    (sets / "ada" / "bbbb.partial" / "journal").mkdir(parents=True)
    face_set(sets / "bob" / "cccc", "bob", "key-bob", ["c2"])
    scenes = sets / "bob" / "scenes" / "dddd"
    face_set(scenes, "scenes", "key-scenes", ["c1", "c3"], people="many", expires="2020-01-31")
    face_set(sets / "people" / "ada" / "eeee", "ada", "key-crowd", ["c4"])
    face_set(sets / "people" / "carl" / "ffff", "carl", "key-carl", ["c5"])
    run(runs / "identity" / "ada" / "1", "ada", wandb_id="x1")
    model(runs / "identity" / "ada" / "1" / "exports" / "ada.onnx", swapper_file, identity="ada", face_set="key-ada")
    (runs / "wandb" / "offline-run-20260101_000000-x1").mkdir(parents=True)
    (runs / "wandb" / "offline-run-20260101_000000-y1").mkdir()
    run(runs / "identity" / "ada" / "2_sweep" / "0", "ada")
    run(runs / "identity" / "ada" / "2_sweep" / "1", "ada")
    (runs / "identity" / "ada" / "2_sweep" / "sweep.json").write_text("{}")
    run(runs / "identity" / "bob" / "3_sweep" / "0", "bob", wandb_id="y1")
    run(runs / "identity" / "bob" / "3_sweep" / "1", "ada")
    run(
        runs / "pretrain" / "people" / "4",
        "people",
        checkpoint={"identity": "people", "face_set": "key-carl+key-crowd"},
    )
    run(runs / "identity" / "carl" / "5", "carl", init_from="runs/pretrain/people/4/checkpoints/last.ckpt")
    profile(profiles, "ada", "key-ada", expires="2026-01-31")
    profile(profiles, "bob", "key-bob")
    made = [Ancestor(id="ada", face_set="key-ada", weight=0.5), Ancestor(id="bob", face_set="key-bob", weight=0.5)]
    profile(profiles, "both", "", made_from=made, ancestors=["ada", "bob"])
    profile(profiles, "grandchild", "", ancestors=["both", "ada", "bob"])
    model(exports / "ada.onnx", swapper_file, identity="ada", face_set="key-ada")
    model(exports / "alias.dfm", swapper_file, identity="other", face_set="key-ada")
    model(exports / "bob.onnx", swapper_file, identity="bob", face_set="key-bob")
    (exports / "old_ada.dfm").write_bytes(b"\0\1\2 no model")
    tensors(exports / "lora" / "adapter_model.safetensors", identity="ada")
    (exports / "lora" / "adapter_config.json").write_text("{}")
    tensors(exports / "cache" / "1.safetensors", identity="ada")
    tensors(exports / "cache" / "2.safetensors", identity="bob")
    return tmp_path


def left(world):
    return {str(p.relative_to(world)) for p in world.rglob("*") if p.is_file() and p.suffix not in (".lock",)}


def test_purge_finds_a_model_of_several_people_by_each_name(world, capsys):
    folder = world / "runs" / "video" / "duo" / "1"
    run(folder, "duo")
    record = json.loads((folder / "run.json").read_text())
    record["settings"]["data"]["faces"] = {"eve": "photos/eve", "joe": "photos/joe"}
    (folder / "run.json").write_text(json.dumps(record))
    run(world / "runs" / "video" / "lost" / "1", "", checkpoint={"identity": "eve,joe"})
    tensors(world / "exports" / "copied.safetensors", facesmith=json.dumps({"identity": "eve,joe"}))
    profile(world / "exports", "joe", "")
    assert main(["name=joe"]) == 1
    output = capsys.readouterr().out
    for path in ("runs/video/duo", "runs/video/lost", "exports/copied.safetensors"):
        assert path in output, path
    assert main(["name=duo"]) == 1
    assert main(["name=jo"]) == 0


def test_purge_without_yes_lists_all_and_removes_nothing(world, capsys):
    before = left(world)
    assert main(["name=ada"]) == 1
    output = capsys.readouterr().out
    assert left(world) == before
    for line in (
        "face_sets/ada  ",
        "1 unfinished",
        "all 2 jobs of it",
        "trained on this face among others, as people",
        "began from runs/pretrain/people/4",
        "both was combined from this identity",
        "look at it  exports/old_ada.dfm",
        "nothing was removed; add yes=true",
    ):
        assert line in output, line


SHARED = {
    "face_sets/bob/scenes/dddd/meta.json",
    "face_sets/bob/scenes/dddd/crops/0.jpg",
    "face_sets/bob/scenes/dddd/training/pairs.npz",
    "face_sets/bob/cccc/training/pairs.npz",
    "exports/alias.dfm",
    "exports/alias.hash",
}


def test_purge_yes_keeps_what_others_made_from_the_same_pictures(world, capsys):
    face_set(world / "face_sets" / "eve" / "gggg", "eve", "key-ada", ["c1"])
    profile(world / "profiles", "eve", "key-ada")
    run(world / "runs" / "identity" / "eve" / "1", "eve", checkpoint={"identity": "eve", "face_set": "key-ada"})
    own = {path for path in left(world) if "eve" in path}
    assert len(own) == 6
    assert main(["name=ada", "yes=true"]) == 0
    output = capsys.readouterr().out
    assert own | SHARED <= left(world)
    for line in (
        "under another name (bob, eve, other)",
        "the same pictures under another name",
        "eve was measured on the same pictures",
        "trained on the same pictures, as eve",
        "scenes made from the same pictures",
        "shared=remove removes it too",
    ):
        assert line in output, line
    assert main(["name=eve", "yes=true", "shared=keep"]) == 0
    assert not own & left(world)


def test_purge_yes_removes_one_identity_and_keeps_the_others(world, capsys):
    assert main(["name=ada", "yes=true", "shared=remove"]) == 0
    rest = left(world)
    assert {path for path in rest if not path.startswith("deletions/")} == {
        "face_sets/bob/cccc/meta.json",
        "face_sets/bob/cccc/crops/0.jpg",
        "face_sets/people/carl/ffff/meta.json",
        "face_sets/people/carl/ffff/crops/0.jpg",
        "runs/identity/bob/3_sweep/0/run.json",
        "profiles/bob.json",
        "exports/bob.onnx",
        "exports/bob.hash",
        "exports/old_ada.dfm",
        "exports/cache/2.safetensors",
        "disc.onnx",
    }
    assert not (world / "runs/identity/ada").exists()
    assert [p.name for p in (world / "runs/wandb").iterdir()] == ["offline-run-20260101_000000-y1"]
    assert "removed 18 (" in capsys.readouterr().out
    assert main(["name=ada", "yes=true"]) == 0
    assert "nothing of ada was found" in capsys.readouterr().out


def test_purge_record_lists_hashes_and_holds_no_face(world):
    from facesmith.files import file_sha256

    exported = file_sha256(world / "exports" / "ada.onnx")
    main(["name=ada", "yes=true"])
    (record_file,) = (world / "deletions").glob("*_ada.json")
    record = json.loads(record_file.read_text())
    assert record["identity"] == "ada"
    assert record["started"] <= record["finished"]
    kinds = {item["kind"] for item in record["items"]}
    assert kinds == {"face set", "cache", "profile", "run", "W&B record", "model", "adapter"}
    (item,) = [item for item in record["items"] if item["paths"][0].endswith("exports/ada.onnx")]
    assert item["models"]["ada.onnx"] == exported
    assert item["files"] == 2
    assert len(item["sha256"]) == 64
    assert "embedding" not in record_file.read_text()


def test_purge_finds_evaluations_of_the_profile_and_leaves_what_lies_beside_them(world):
    report = world / "exports" / "scores"
    (report / "people").mkdir(parents=True)
    (report / "mine.txt").touch()
    for name in OF_EVALUATIONS[:-1]:
        (report / name).touch()
    stated = {"profiles": [{"identity": "both,ada,bob", "face_set": ""}]}
    (report / "evaluation.json").write_text(json.dumps(stated))
    assert main(["name=ada", "yes=true"]) == 0
    assert [one.name for one in report.iterdir()] == ["mine.txt"]


def test_purge_takes_the_photos_beside_an_adapter(world):
    lora = world / "exports" / "dance"
    tensors(lora / "lora.safetensors", identity="ada")
    (lora / "references").mkdir()
    (lora / "references" / "photo_0.png").touch()
    assert main(["name=ada", "yes=true"]) == 0
    assert not list(lora.rglob("*.*"))


def test_purge_locked_face_set_is_refused(world, capsys):
    lock = world / "face_sets" / "ada" / "aaaa.lock"
    with FileLock(lock):
        assert main(["name=ada", "yes=true"]) == 1
    assert "face_sets/ada: is in use by a run or an extraction" in capsys.readouterr().err
    assert (world / "profiles" / "ada.json").exists()
    assert main(["name=ada", "yes=true"]) == 0


def test_purge_follows_linked_face_sets_but_not_linked_photos(world, capsys):
    photos = world / "photos"
    photos.mkdir()
    (photos / "ada.jpg").write_bytes(b"hers to keep")
    away = world / "big_disk" / "ada"
    away.parent.mkdir()
    (world / "face_sets" / "ada").rename(away)
    (world / "face_sets" / "ada").symlink_to(away)
    (away / "photos").symlink_to(photos)
    assert main(["name=ada", "yes=true"]) == 0
    assert not away.exists()
    assert not (world / "face_sets" / "ada").is_symlink()
    assert (photos / "ada.jpg").read_bytes() == b"hers to keep"


def test_purge_marked_media_removes_marked_pictures(world, capsys):
    portrait = np.ascontiguousarray(data.astronaut()[:64, :64])
    for name, identity in (("hers", "ada"), ("his", "bob")):
        mark = Mark(identity=identity, consent="self", model_hash=None, title="a picture")
        write_image(world / "outputs" / f"{name}.jpg", portrait, mark=mark)
    main(["name=ada", "yes=true", "folders=[outputs]"])
    assert (world / "outputs" / "hers.jpg").exists()
    main(["name=ada", "yes=true", "folders=[outputs]", "marked_media=true"])
    assert [p.name for p in (world / "outputs").iterdir()] == ["his.jpg"]


def test_purge_removes_a_runs_cache_and_nothing_beside_it(world, capsys):
    run(world / "runs" / "video_lora" / "ada" / "6", "ada", cache=str(world / "cache"))
    for number in range(6):
        tensors(world / "cache" / "latents" / f"{number:024x}.safetensors")
    tensors(world / "cache" / "latents" / "somebodys_model.safetensors")
    (world / "cache" / "mine.txt").write_text("not facesmith's")
    assert main(["name=ada", "yes=true"]) == 0
    assert "and 2 more beside them" in capsys.readouterr().out
    left = sorted(path.name for path in (world / "cache").rglob("*") if path.is_file())
    assert left == ["mine.txt", "somebodys_model.safetensors"]


@pytest.mark.parametrize(
    "record",
    [
        '{"settings": [1]}',
        '{"settings": {"data": "x"}}',
        '{"settings": {"data": {"name": "ada", "cache": 7, "faces": 7}}, "wandb_id": [1]}',
        '{"settings": ' + "[" * 100_000,
        "[" * 100_000,
    ],
    ids=range(5),
)
def test_purge_with_a_strange_record_goes_on(record: str, world, capsys):
    folder = world / "runs" / "strange"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(record)
    assert main(["name=ada", "yes=true"]) == 0


def test_purge_missing_folders_and_wrong_keys(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["name=ada"]) == 0
    assert "face_sets (no such folder)" in capsys.readouterr().out
    assert traces_in_face_sets("ada", tmp_path / "none") == ([], set())
    assert main(["name=../ada"]) == 1
    assert "name=../ada" in capsys.readouterr().err
    assert main(["nam=ada"]) == 1
    assert "nam: no such key; did you mean name?" in capsys.readouterr().err
    assert main(["yes=true"]) == 1
    assert "is required" in capsys.readouterr().err


def test_retention_lists_expired_consent(world, capsys):
    assert main(["retention", "on=2026-01-31"]) == 0
    assert main(["retention", "on=2026-02-01"]) == CONSENT_EXPIRED
    output = capsys.readouterr().out
    assert "ada: consent expired on 2026-01-31; facesmith purge name=ada" in output
    assert "profiles/ada.json" in output
    assert "bob" not in output.split("ada: consent")[1]
    assert stat.S_IMODE((world / "profiles" / "ada.json").stat().st_mode) == 0o600


def test_purge_running_run_is_refused(world, capsys):
    folder = world / "runs" / "identity" / "ada" / "1"
    record = RunRecord(
        status="running",
        experiment="identity",
        name="ada",
        overrides=[],
        settings={"data": {"name": "ada"}},
        command=[],
        facesmith="0",
        python="3",
        packages={},
        git_commit=None,
        host=socket.gethostname(),
        pid=os.getpid(),
        started=datetime.now(UTC).isoformat(),
    )
    (folder / "run.json").write_text(record.model_dump_json())
    assert main(["name=ada", "yes=true"]) == 1
    assert f"{folder.relative_to(world)}: is in use" in capsys.readouterr().err
    assert (world / "face_sets" / "ada").exists()
    (folder / "run.json").write_text(record.model_copy(update={"host": "elsewhere"}).model_dump_json())
    assert main(["name=ada", "yes=true"]) == 1
    assert "is recorded as running on elsewhere" in capsys.readouterr().err
    (folder / "run.json").write_text(record.model_copy(update={"pid": 2**22 + 5}).model_dump_json())
    assert main(["name=ada", "yes=true"]) == 0
