"""The published protocols end to end on a corpus of a few people in their layout, with random weights."""

import sys

import numpy as np
import pytest
import torch
from skimage.data import astronaut
from torch import nn

from facesmith.cli.main import main as facesmith
from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.geometry.alignment import TEMPLATES, estimate_alignment, warp_face
from facesmith.media.images import read_image, write_image
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.models.onnx.export import export
from facesmith.models.onnx.export_spec import ExportSpec
from facesmith.models.onnx.info import SwapperInfo


@pytest.fixture(scope="module")
def people(asset, carphone_frames):
    """Three people, two faces each where there are films, on one template."""
    with open_video(asset("single_face.mp4")) as reader:
        man = [frame for _, frame in reader.frames([5, 60])]
    driver = [np.repeat(np.repeat(carphone_frames[i], 2, 0), 2, 1) for i in (5, 60)]
    analyzer = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.6)
    faces = {}
    for name, pictures in {"0001": man, "0002": driver, "0003": [astronaut()] * 2}.items():
        matrices = [estimate_alignment(analyzer(one)[0].keypoints, "ffhq_512", 256) for one in pictures]
        faces[name] = [warp_face(one, matrix, 256) for one, matrix in zip(pictures, matrices, strict=True)]
    analyzer.close()
    return faces


@pytest.fixture(scope="module")
def casia(people, tmp_path_factory):
    """CASIA's layout: faces, points, a list of pairs, and the two trivial swappers."""
    root = tmp_path_factory.mktemp("casia")
    (root / "faces_landmarks").mkdir()
    pairs = []
    for person, faces in people.items():
        for frame, face in enumerate(faces):
            write_image(root / "faces" / f"{person}-0_{frame}.png", face, mark=None)
            np.savetxt(root / "faces_landmarks" / f"{person}-0_{frame}.txt", TEMPLATES["ffhq_512"] * 256)
    for source in people:
        pairs += [(f"{source}-0_0", f"{target}-0_1") for target in people if target != source]
    (root / "image_pairs_normal.txt").write_text("".join(f"{s}.png {t}.png\n" for s, t in pairs))
    for source, target in pairs:
        for method, name in (("unchanged", target), ("pasted", source)):
            face = read_image(root / "faces" / f"{name}.png")
            write_image(root / method / "all_simple" / f"{source}-{target}.png", face, mark=None)
    return root


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
    module.main()


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.slow
def test_casia_of_the_trivial_swappers(casia, weights, monkeypatch, capsys):
    import casia as benchmark

    given = ["--data", casia, "--pairs", casia, "--weights", weights, "--protocols", "normal"]
    run(benchmark, monkeypatch, *given, "--swaps", casia / "unchanged")
    found = cells(next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| unchanged")))
    assert found[1:3] == ["one-shot", "6"]
    assert found[3].startswith("0.00 (")
    assert [one.split(" ")[0] for one in found[5:7]] == ["0.00", "0.00"]
    run(benchmark, monkeypatch, *given, "--swaps", casia / "pasted")
    out = capsys.readouterr().out
    found = cells(next(line for line in out.splitlines() if line.startswith("| pasted")))
    assert found[3].startswith("100.00 (")
    assert found[4].startswith("1.00")
    assert float(found[6].split(" ")[0]) > 0
    assert "| SimSwap | published | | 90 |" in out
    assert "normal, 6 of 6 pairs" in out


def test_casia_tells_missing_swaps_and_refuses_other_weights(casia, weights, monkeypatch, capsys, tmp_path):
    import casia as benchmark

    given = ["--data", casia, "--pairs", casia, "--weights", weights, "--protocols", "normal"]
    one = "0001-0_0-0002-0_1.png"
    write_image(tmp_path / "all_simple" / one, read_image(casia / "pasted" / "all_simple" / one), mark=None)
    run(benchmark, monkeypatch, *given, "--swaps", tmp_path)
    assert "5 of 6 pairs have no swap: NOT the published protocol" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"no swap of the 6 pairs of normal"):
        run(benchmark, monkeypatch, *given, "--swaps", tmp_path / "nothing")
    with pytest.raises(UserError, match=r"CosFace_ACC99\.28\.pth: sha256 is \w+, not 00"):
        run(benchmark, monkeypatch, *given, "--swaps", tmp_path, "--sha256", "CosFace_ACC99.28.pth=00")
    with pytest.raises(UserError, match=r"lacks faces/"):
        run(benchmark, monkeypatch, "--data", tmp_path, *given[2:], "--swaps", tmp_path)


@pytest.fixture(scope="module")
def faceforensics(people, tmp_path_factory):
    """FaceForensics++'s layout with two films of a second, its own swaps, and the trivial swappers."""
    root = tmp_path_factory.mktemp("ffpp")
    names = {"000": people["0001"], "003": people["0002"]}

    def film(path, faces):
        with VideoWriter(path, mark=None, crf=10) as writer:
            for i in range(10):
                writer.write(np.ascontiguousarray(faces[i // 5]))

    videos = "c23/videos"
    for name, faces in names.items():
        film(root / "original_sequences" / "youtube" / videos / f"{name}.mp4", faces)
    for target, source in (("000", "003"), ("003", "000")):
        film(root / "manipulated_sequences" / "Deepfakes" / videos / f"{target}_{source}.mp4", names[source])
        film(root / "unchanged" / f"{target}_{source}.mp4", names[target])
    (root / "splits").mkdir()
    (root / "splits" / "test.json").write_text('[["000", "003"]]')
    return root


@pytest.mark.slow
def test_ffpp_prints_no_row_before_it_is_calibrated(faceforensics, weights, monkeypatch, capsys):
    import ffpp as benchmark

    monkeypatch.setattr(benchmark, "FRAMES", 2)
    given = ["--data", faceforensics, "--weights", weights, "--swaps", faceforensics / "unchanged"]
    with pytest.raises(UserError, match=r"Deepfakes: retrieval 100\.00 %, pose .*not calibrated; no row is printed"):
        run(benchmark, monkeypatch, *given)
    assert "| unchanged" not in capsys.readouterr().out
    run(benchmark, monkeypatch, *given, "--uncalibrated")
    out = capsys.readouterr().out
    found = cells(next(line for line in out.splitlines() if line.startswith("| unchanged")))
    assert found[1:3] == ["one-shot, UNCALIBRATED", "4"]
    assert found[3].startswith("0.00 (")  # each finds the target
    assert float(found[5].split(" ")[0]) < 0.5
    assert "gallery: 2 videos, 4 frames" in out


@pytest.fixture
def in_process(monkeypatch):
    """Run the commands of facesmith here instead of as processes."""
    import published_protocol

    def run_command(*arguments):
        assert facesmith(list(arguments)) == 0, arguments

    monkeypatch.setattr(published_protocol, "_facesmith", run_command)


class Told(nn.Module):
    """A disc in the colour of the first three numbers of an embedding."""

    def forward(self, target, source):
        away = torch.linspace(-1, 1, 128).square()
        mask = torch.sigmoid(20 * (0.5 - away[:, None] - away))[None, None] + 0 * target[:, :1]
        return torch.tanh(9 * source[:, :3, None, None]) * mask + target * (1 - mask), mask


@pytest.fixture(scope="module")
def any_identity(tmp_path_factory):
    """A file that takes any identity by SFace's embedding."""
    info = SwapperInfo("arcface_128", 128, "sface", 128, "told", "synthetic")
    inputs = {"target": torch.zeros(1, 3, 128, 128), "source": nn.functional.normalize(torch.ones(1, 128))}
    spec = ExportSpec(Told().eval(), inputs, ["output", "mask"], info.metadata())
    return export(spec, tmp_path_factory.mktemp("told") / "told.onnx").path


def row_of(out, name):
    return cells(next(line for line in out.splitlines() if line.startswith(f"| {name} |")))


@pytest.mark.slow
def test_ffpp_makes_swaps_of_the_datasets_pairs_one_shot(
    faceforensics, weights, any_identity, in_process, monkeypatch, capsys, tmp_path
):
    import ffpp as benchmark

    monkeypatch.setattr(benchmark, "FRAMES", 2)
    given = ["--data", faceforensics, "--weights", weights, "--uncalibrated"]
    run(benchmark, monkeypatch, *given, "--model", any_identity, "--make", tmp_path / "told")
    out = capsys.readouterr().out
    assert row_of(out, "told")[1:3] == ["one-shot, UNCALIBRATED", "4"]
    assert sorted(path.name for path in (tmp_path / "told").glob("*.mp4")) == ["000_003.mp4", "003_000.mp4"]
    changed = [read_first(tmp_path / "told" / "000_003.mp4"), read_first(find_original(faceforensics, "000"))]
    assert np.abs(changed[0].astype(int) - changed[1]).max() > 100


@pytest.mark.slow
def test_casia_makes_swaps_one_shot_and_measures_without_weights(
    casia, weights, any_identity, in_process, monkeypatch, capsys, tmp_path
):
    import casia as benchmark

    given = ["--data", casia, "--pairs", casia, "--protocols", "normal"]
    run(benchmark, monkeypatch, *given, "--weights", weights, "--model", any_identity, "--make", tmp_path / "told")
    out = capsys.readouterr().out
    assert row_of(out, "told")[1:3] == ["one-shot", "6"]
    assert len(list((tmp_path / "told" / "all_simple").glob("*.png"))) == 6
    run(benchmark, monkeypatch, *given, "--swaps", tmp_path / "told")
    assert "no --weights: figures of task=evaluate, not to be compared with" in capsys.readouterr().out
    assert (tmp_path / "told" / "evaluation_normal" / "evaluation.json").is_file()


@pytest.mark.slow
def test_ffpp_trains_for_each_source_and_says_so(faceforensics, weights, in_process, monkeypatch, capsys, tmp_path):
    import ffpp as benchmark

    monkeypatch.setattr(benchmark, "FRAMES", 2)
    given = ["--data", faceforensics, "--weights", weights, "--uncalibrated", "--model", "identity"]
    small = ["model.generator.size=128", "model.generator.pictures=4", "model.train_size=64"]
    few = ["data.pseudo_truth.frames=4", "data.pseudo_truth.variants=2", "data.selection.min_sharpness=0"]
    training = ["trainer.max_epochs=0", "logger=none", *small, *few]
    run(benchmark, monkeypatch, *given, "--make", tmp_path / "ours", "--per-person", *training)
    found = row_of(capsys.readouterr().out, "ours")
    assert found[1:3] == ["per-person, UNCALIBRATED", "4"]
    assert sorted(path.name for path in (tmp_path / "ours").glob("*.mp4")) == ["000_003.mp4", "003_000.mp4"]


def find_original(root, name):
    return root / "original_sequences" / "youtube" / "c23" / "videos" / f"{name}.mp4"


def read_first(path):
    with open_video(path) as reader:
        return next(picture for _, picture in reader.frames([0]))


def test_ffpp_of_wrongly_named_swaps_is_refused(faceforensics, weights, monkeypatch, tmp_path):
    import ffpp as benchmark

    (tmp_path / "007_003.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=r"not named <target>_<source>\.mp4"):
        benchmark.find_swaps(tmp_path, benchmark.find_originals(faceforensics, "c23"))
    with pytest.raises(UserError, match=r"holds 0 videos"):
        benchmark.find_originals(tmp_path, "c23")
