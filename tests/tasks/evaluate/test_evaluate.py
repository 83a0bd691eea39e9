"""The evaluate task on a corpus of three people and the two trivial swappers."""

import csv
import hashlib
import json
import re
import shutil
from contextlib import closing

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from pydantic import ValidationError

from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.geometry.alignment import estimate_alignment, invert_transform, transform_points, warp_face
from facesmith.faces.geometry.masks import feathered_outline_mask
from facesmith.media.images import read_image, write_image
from facesmith.media.provenance import Mark
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.metrics.comparison import FaceComparison
from facesmith.metrics.edges import find_changed, seam
from facesmith.metrics.figures import FACE_FIGURES
from facesmith.metrics.person import FrameEvaluator
from facesmith.metrics.recogniser import HeldOutRecogniser
from facesmith.metrics.swap import SwapEvaluator, SwapPictures
from facesmith.purge.artefacts import traces_in_folders
from facesmith.tasks.engine.local import LOCAL
from facesmith.tasks.evaluate.config import EvaluateTaskConfig
from facesmith.tasks.evaluate.pairs import find_people
from facesmith.tasks.evaluate.people import study
from facesmith.tasks.evaluate.task import EvaluateTask

from ...made_profiles import made_profile
from ...offline_wandb import summaries
from ..test_engine import FarAway

# figure of `evaluate`: field of the gate's, and how far the landmarks of a crop may move it
GATE = {
    **{
        "nme": ("nme", 0.01),
        "pose_error": ("pose", 1.5),
        "pose_yaw": ("yaw", 1.5),
        "expression_error": ("expression", 0.02),
    },
    **{"colour_error": ("colour", 0.5), "sharpness_target": ("sharpness_target", 0.02), "stripes": ("stripes", 0.002)},
    **{"similarity_sface": ("similarity", 0.05), "distance_dlib": ("distance", 0.03)},
}
PEOPLE = ("astronaut", "man", "driver")


def analyzer():
    return MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.7)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, asset, carphone_frames):
    """Portraits as targets and sources; swaps: the target unchanged, and the source's picture pasted onto it."""
    root = tmp_path_factory.mktemp("corpus")
    with open_video(asset("single_face.mp4")) as reader:
        (_, man), (_, man_later) = reader.frames([10, 50])
    pictures = {
        "astronaut": read_image(asset("astronaut.png"))[:300, 80:380],
        "man": man,
        "driver": np.repeat(np.repeat(carphone_frames[5], 2, 0), 2, 1),
    }
    faces = {}
    with_all = analyzer()
    for name, picture in pictures.items():
        faces[name] = with_all(picture)[0]
        write_image(root / "targets" / f"{name}.png", picture, mark=None)
        write_image(root / "sources" / f"{name}.png", man_later if name == "man" else picture, mark=None)
    with_all.close()
    for target in PEOPLE:
        for source in PEOPLE:
            if source == target:
                continue
            write_image(root / "unchanged" / f"{target}_{source}.png", pictures[target], mark=None)
            matrix = estimate_alignment(faces[source].keypoints, "arcface_128", 256)
            there = invert_transform(estimate_alignment(faces[target].keypoints, "arcface_128", 256))
            pasted = pictures[target].copy()
            height, width = pasted.shape[:2]
            crop = warp_face(pictures[source], matrix, 256)
            moved = cv2.warpAffine(crop, there, (width, height))
            inside = cv2.warpAffine(np.full((256, 256), 255, np.uint8), there, (width, height)) > 127
            pasted[inside] = moved[inside]
            write_image(root / "pasted" / f"{target}_{source}.png", pasted, mark=None)
    return root


def evaluate(root, folder, output, engine=LOCAL, **changes):
    settings = {"swaps": str(root / folder), "targets": str(root / "targets"), "sources": str(root / "sources")}
    settings |= {"names": "target_source", "pairs": None, "against": None, "gallery": None}
    settings |= {
        "recognisers": ["analyzer", "dlib"],
        "arcface": None,
        "trained_against": None,
        "fid": None,
        "max_frames": None,
    }
    settings |= {"one_person": False, "source_frames": 4, "examples": 2, "workers": 1, "resume": True, "output": output}
    settings |= {"wandb_project": None, "wandb_media": False, "face_sets": root / "none", "backend": "pyav"}
    config = EvaluateTaskConfig(_target_="facesmith.tasks.evaluate.task.EvaluateTask", **(settings | changes))
    return EvaluateTask(config, analyzer=analyzer, engine=engine, progress=False)


def figures(path):
    saved = json.loads((path / "evaluation.json").read_text())
    return {name: one["value"] for name, one in saved["figures"].items()}


@pytest.fixture(scope="module")
def compared(corpus, tmp_path_factory):
    """The two trivial swappers against each other."""
    output = tmp_path_factory.mktemp("out") / "trivial"
    task = evaluate(
        corpus, "unchanged", output, against=str(corpus / "pasted"), trained_against=["sface"], fid="stand_in"
    )
    return output, task.run()


def test_evaluate_unchanged_targets_have_perfect_pose_and_nobody_is_found(compared):
    found = figures(compared[0])
    for name in ("pose_error", "nme", "expression_error", "gaze_error", "miss_rate"):
        assert found[name] == pytest.approx(0, abs=1e-5)
    assert (found["sharpness_target"], found["seam"]) == (1, 0)
    assert found["similarity_target_sface"] == pytest.approx(1, abs=1e-5)
    assert (found["top1_sface"], found["top1_dlib"], found["accepted"]) == (0, 0, 0)  # each finds the target's person


def test_evaluate_pasted_sources_are_found_and_turned_otherwise(compared):
    saved = json.loads((compared[0] / "evaluation.json").read_text())
    rows = {row["figure"]: row for row in saved["comparison"]}
    assert rows["top1_sface"]["theirs"] == 1
    assert rows["top1_dlib"]["theirs"] == 1
    assert rows["pose_error"]["theirs"] > 3
    for name in ("pose_error", "similarity_sface", "seam"):
        assert rows[name]["p_value"] == 2 / 64  # the least of six pairs
        assert rows[name]["adjusted"] > rows[name]["p_value"]
    assert saved["frechet"]["name"] == "frechet_efficientnet_lite0"
    assert saved["frechet"]["value"] == pytest.approx(0, abs=1e-3)


def test_evaluate_writes_one_page_and_marks_who_was_trained_against(compared):
    output, (_, table, page) = compared
    for path in (output, *output.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path  # figures and pictures of faces are nobody else's
    html = page.read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert html.count("trained against</span>") == 3
    assert html.count("<img") == 12  # two worst and two best pairs
    with table.open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 12
    assert {row["set"] for row in rows} == {"swaps", "against"}
    assert all(row["reason"] for row in rows if row["set"] == "swaps")


def test_evaluate_again_measures_only_what_is_new_and_logs_to_wandb(corpus, compared, tmp_path, capsys, keyless):
    output = shutil.copytree(compared[0], tmp_path / "again")
    with (output / "pairs.jsonl").open("a") as journal:
        journal.write('{"key": "cut off')  # a kill in the middle of a line
    before = figures(output)
    evaluate(corpus, "unchanged", output, wandb_project="swaps").run()
    (logged,) = summaries(output)
    assert logged["summary"]["evaluate/top1_dlib"] == 0
    assert "evaluate/page" not in logged["summary"]  # pictures stay here
    assert "6 of 6 pairs were measured before" in capsys.readouterr().out
    assert figures(output) == before


def test_evaluate_on_another_engine_equals_threads(corpus, tmp_path):
    swaps = tmp_path / "swaps"
    for target in ("man", "driver"):
        write_image(swaps / f"{target}_astronaut.png", read_image(corpus / "targets" / f"{target}.png"), mark=None)
    (swaps / "astronaut_man.png").write_bytes(b"no picture")
    tables = []
    for name, engine in {"here": LOCAL, "there": FarAway()}.items():
        with pytest.raises(UserError, match=r"1 of 3 pairs could not be measured; .*astronaut_man"):
            evaluate(corpus, "", tmp_path / name, engine, swaps=str(swaps), recognisers=["analyzer"]).run()
        tables.append((tmp_path / name / "pairs.csv").read_text())
    assert tables[0] == tables[1]


def test_evaluate_counts_misses_and_says_what_cannot_be_measured(corpus, tmp_path, capsys):
    swaps = tmp_path / "swaps"
    target = read_image(corpus / "targets" / "man.png")
    write_image(swaps / "man_driver.png", np.zeros_like(target), mark=None)
    write_image(swaps / "driver_man.png", target[:, :300], mark=None)
    (swaps / "astronaut_man.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"2 of 3 pairs could not be measured; the others were; first: .*astronaut_man"):
        evaluate(corpus, "", tmp_path / "out", swaps=str(swaps)).run()
    saved = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert "not of one shape" in next(one["reason"] for one in saved["failed"] if one["pair"] == "driver_man")
    found = saved["figures"]
    assert found["miss_rate"] == {"value": 1, "low": None, "high": None, "count": 1}
    assert found["top1_dlib"]["value"] == 0  # never dropped
    assert "similarity_sface" not in found
    assert "one pair: figures have no interval" in capsys.readouterr().out


def test_evaluate_gallery_with_a_source_under_another_name_counts_it_once(corpus, tmp_path):
    gallery = tmp_path / "gallery"
    write_image(gallery / "astronaut.png", read_image(corpus / "targets" / "astronaut.png"), mark=None)
    (gallery / "somebody.png").write_bytes((corpus / "sources" / "driver.png").read_bytes())
    write_image(gallery / "again.jpg", read_image(corpus / "sources" / "driver.png"), mark=None, quality=85)
    swaps = tmp_path / "swaps"
    write_image(swaps / "man_driver.png", read_image(corpus / "pasted" / "man_driver.png"), mark=None)
    evaluate(corpus, "", tmp_path / "out", swaps=str(swaps), gallery=str(gallery)).run()
    saved = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert saved["gallery"] == 3
    assert any("again of the gallery looks like driver" in note for note in saved["notes"])
    assert any("somebody is driver" in note for note in saved["notes"])


def test_evaluate_video_measures_change_along_time(corpus, tmp_path, carphone_frames):
    mark = Mark(identity="man", consent="licensed", model_hash=None, title="test")
    frames = [np.repeat(np.repeat(frame, 2, 0), 2, 1) for frame in carphone_frames[:6]]
    with (
        VideoWriter(tmp_path / "targets" / "scene.mp4", mark=mark, crf=10) as scene,
        VideoWriter(tmp_path / "swaps" / "scene.mp4", mark=mark, crf=10) as flickering,
    ):
        for i, frame in enumerate(frames):
            scene.write(frame)
            flickering.write(np.clip(frame.astype(int) + 14 * (i % 2), 0, 255).astype(np.uint8))
    output = tmp_path / "out"
    driver = str(corpus / "sources" / "driver.png")
    task = evaluate(
        corpus, "", output, swaps=str(tmp_path / "swaps"), targets=str(tmp_path / "targets"), sources=driver
    )
    task.run()
    found = figures(output)
    assert found["flicker"] > 2
    assert found["warping_error"] > 3 * found["warping_error_target"]
    assert 0.5 < found["jitter_ratio"] < 2
    assert "top1_dlib" not in found  # one person alone


def _graph(path, shape, nodes, **tensors):
    graph = helper.make_graph(
        nodes,
        "recogniser",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture
def arcface_file(tmp_path):
    """ArcFace's contract with random weights: strided patches of the crop, 512 numbers of them."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["input", "patches"], ["maps"], strides=[16, 16], kernel_shape=[16, 16]),
        helper.make_node("Flatten", ["maps"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights"], ["embedding"]),
    ]
    patches = rng.normal(size=(8, 3, 16, 16)).astype(np.float32)
    weights = rng.normal(size=(8 * 49, 512)).astype(np.float32)
    return _graph(tmp_path / "arcface.onnx", ["N", 3, 112, 112], nodes, patches=patches, weights=weights)


def test_evaluate_takes_the_users_file_of_arcface(corpus, tmp_path, arcface_file):
    swaps = tmp_path / "swaps"
    for name in ("man_driver", "astronaut_man"):
        write_image(swaps / f"{name}.png", read_image(corpus / "pasted" / f"{name}.png"), mark=None)
    given = {"swaps": str(swaps), "recognisers": ["arcface"], "arcface": arcface_file}
    evaluate(corpus, "", tmp_path / "out", **given).run()
    saved = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    digest = hashlib.sha256(arcface_file.read_bytes()).hexdigest()
    assert f"arcface: arcface.onnx, sha256 {digest}" in saved["notes"]
    assert saved["figures"]["similarity_arcface"]["value"] > saved["figures"]["similarity_target_arcface"]["value"]
    assert saved["figures"]["top1_arcface"]["value"] == 1  # the source's own picture, of three people


def test_evaluate_of_a_wrong_file_of_arcface_says_so_before_any_work(corpus, tmp_path):
    nodes = [helper.make_node("Conv", ["input", "patches"], ["embedding"], kernel_shape=[16, 16])]
    files = {
        "maps": (_graph(tmp_path / "maps.onnx", [1, 3, 112, 112], nodes, patches=np.ones((8, 3, 16, 16), np.float32))),
        "grey": (_graph(tmp_path / "grey.onnx", [1, 1, 112, 112], nodes, patches=np.ones((8, 1, 16, 16), np.float32))),
        "none": tmp_path / "none.onnx",
    }
    messages = {
        "maps": r"maps\.onnx: gives \(1, 8, 97, 97\), not one embedding a face",
        "grey": r"grey\.onnx: takes no picture \(1,3,112,112\)",
        "none": r"none\.onnx: cannot be read \(No such file",
    }
    for name, message in messages.items():
        with pytest.raises(UserError, match=message):
            evaluate(corpus, "pasted", tmp_path / "out", recognisers=["arcface"], arcface=files[name]).run()


def test_evaluate_into_a_file_is_refused(corpus, tmp_path):
    (tmp_path / "report").write_text("")
    with pytest.raises(ValidationError, match="is a file; give a folder"):
        evaluate(corpus, "unchanged", tmp_path / "report")


def test_evaluate_against_other_pairs_is_refused(corpus, tmp_path):
    write_image(tmp_path / "swaps" / "man.png", read_image(corpus / "targets" / "man.png"), mark=None)
    with pytest.raises(UserError, match=r"shares no file name with task\.swaps"):
        evaluate(corpus, "unchanged", tmp_path / "out", against=str(tmp_path / "swaps"))


def test_evaluate_of_several_faces_and_another_size_measures_the_face_that_was_changed(corpus, tmp_path):
    man, driver = (read_image(corpus / "targets" / f"{name}.png") for name in ("man", "driver"))
    pasted = read_image(corpus / "pasted" / "man_driver.png")
    height = min(len(man), len(driver))

    def beside(left):
        parts = [cv2.resize(one, (round(one.shape[1] * height / len(one)), height)) for one in (left, driver)]
        return np.concatenate(parts, 1)

    write_image(tmp_path / "targets" / "both.png", beside(man), mark=None)
    half = cv2.resize(beside(pasted), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    write_image(tmp_path / "swaps" / "both_driver.png", half, mark=None)
    given = {"swaps": str(tmp_path / "swaps"), "targets": str(tmp_path / "targets"), "recognisers": ["analyzer"]}
    evaluate(corpus, "", tmp_path / "out", **given).run()
    (line,) = (tmp_path / "out" / "pairs.jsonl").read_text().splitlines()[1:]
    result = json.loads(line)["result"]
    assert result["notes"] == ["several faces: the one that was changed most counts"]
    assert result["figures"]["top1_sface"] == 1  # the driver, and not because he stands beside: he is left out there
    assert result["figures"]["similarity_target_sface"] < 0.5
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "grey" / "nobody.png", np.full((200, 200, 3), 128, np.uint8), mark=None)
    with pytest.raises(UserError, match=r"task\.gallery=.*empty: no picture, video or profile found"):
        evaluate(corpus, "", tmp_path / "out", **given, gallery=str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"task\.gallery=.*grey: shows no face; give portraits of people"):
        evaluate(corpus, "", tmp_path / "out", **given, gallery=str(tmp_path / "grey")).run()


def test_evaluate_a_profiles_report_is_found_when_it_is_purged(corpus, tmp_path):
    with closing(analyzer()) as finder:
        face = finder(read_image(corpus / "sources" / "driver.png"))[0]
    made_profile("driver", face.embedding).save(tmp_path / "driver.json")
    output = tmp_path / "out"
    swaps = str(corpus / "pasted" / "man_driver.png")
    evaluate(corpus, "", output, swaps=swaps, sources=str(tmp_path / "driver.json"), recognisers=["analyzer"]).run()
    (found,) = traces_in_folders("driver", set(), [output], [], media=False)
    assert set(found.files) == set(output.iterdir())


def test_evaluate_figures_are_those_of_validate_and_of_the_gate(corpus, compared):
    with (compared[0] / "pairs.csv").open() as lines:
        row = next(row for row in csv.DictReader(lines) if (row["set"], row["pair"]) == ("against", "man_driver"))
    with closing(analyzer()) as finder:
        person = find_people(str(corpus / "sources"), "sources")["driver"]
        known = study(person, finder, [], frames=1, backend="pyav", face_sets=corpus)
        faces = known.faces()
        swap, target = read_image(corpus / "pasted" / "man_driver.png"), read_image(corpus / "targets" / "man.png")
        profile = made_profile("driver", finder(read_image(corpus / "sources" / "driver.png"))[0].embedding)
        evaluator = FrameEvaluator(profile, list(faces.images), FaceComparison(faces))
        found = evaluator(swap, finder(swap), target, finder(target))
        # the gate of a training sees the same place as a crop, and finds the landmarks there
        matrix = estimate_alignment(finder(target)[0].keypoints, "arcface_128", 256)
        crops = [warp_face(one, matrix, 256)[None] for one in (target, swap)]
        points = transform_points(finder(target)[0].landmarks, matrix).astype(np.float32)
        mask = (feathered_outline_mask(points, 256) * 255).astype(np.uint8)[None]
        pictures = SwapPictures(crops[0], crops[0], crops[1], crops[1], mask, mask)
        (gate,) = SwapEvaluator(finder, HeldOutRecogniser(), faces)(pictures).pictures
    values = found.figures.values()
    for figure in FACE_FIGURES:
        if np.isfinite(values[figure.field]):
            expected = abs(values[figure.field]) if figure.reduction == "size" else values[figure.field]
            assert float(row[figure.name]) == pytest.approx(expected, rel=1e-3, abs=1e-6), figure.name
    rim = find_changed(crops[0][0], crops[1][0])  # instead of the mask that only the gate knows
    assert float(row["seam"]) == pytest.approx(seam(crops[0][0], crops[1][0], rim), rel=1e-3)
    for name, (field, apart) in GATE.items():
        value = abs(gate.values()[field]) if name == "pose_yaw" else gate.values()[field]
        assert float(row[name]) == pytest.approx(value, rel=0.15, abs=apart), name
    assert float(row["distance_dlib"]) == pytest.approx(found.distance, abs=0.02)  # from a crop of 256 px, not of 128
    assert float(row["similarity_sface"]) == pytest.approx(found.similarity, abs=1e-4)
