"""VBench's consistencies against their formulas, on random weights."""

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch.nn import functional

from facesmith.errors import UserError
from facesmith.media.video_writer import VideoWriter


class Mean:
    """Describes a frame by its mean colour off grey."""

    def describe(self, frame):
        return torch.from_numpy(frame.mean((0, 1)) - 128)


def test_consistency_is_the_mean_of_cosines_to_the_frame_before_and_the_first():
    from video_consistency import consistency

    colours = np.random.default_rng(0).uniform(20, 235, (4, 3)).round()
    frames = [np.full((4, 4, 3), colour, np.uint8) for colour in colours]
    vectors = torch.from_numpy(colours - 128)

    def alike(a, b):
        return max(0.0, float(functional.cosine_similarity(vectors[a], vectors[b], dim=0)))

    expected = np.mean([(alike(i, i - 1) + alike(i, 0)) / 2 for i in (1, 2, 3)])
    assert consistency(frames, {"mean": Mean()})["mean"] == pytest.approx(expected)
    assert np.isnan(consistency(frames[:1], {"mean": Mean()})["mean"])
    assert consistency(frames[:1] * 3, {"mean": Mean()})["mean"] == pytest.approx(1)


def test_dino_equals_the_vision_transformer_and_takes_wide_frames():
    from video_consistency import Dino

    torch.manual_seed(0)
    dino = Dino(depth=1).eval()
    same = timm.create_model("vit_base_patch16_224", num_classes=0, global_pool="token", depth=1).eval()
    same.load_state_dict(dino.state_dict())
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    mean, spread = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    given = (torch.from_numpy(picture).permute(2, 0, 1) / 255 - mean) / spread
    with torch.inference_mode():
        assert torch.allclose(dino.describe(picture), same(given[None])[0], atol=1e-5)
    assert dino.describe(picture[:112]).shape == (768,)


def test_clip_reads_its_part_of_hugging_faces_file(tmp_path):
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    from reference_networks import load_weights
    from video_consistency import CLIP_PARTS, Clip

    torch.manual_seed(0)
    sizes = {"vocab_size": 8, "hidden_size": 16, "intermediate_size": 16}
    text = CLIPTextConfig(**sizes, num_hidden_layers=1, num_attention_heads=2).to_dict()
    vision = CLIPVisionConfig(num_hidden_layers=1).to_dict()
    whole = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=512)).eval()
    tensors = {name: value.contiguous() for name, value in whole.state_dict().items()}
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    clip = Clip(depth=1)
    load_weights(clip, tmp_path / "model.safetensors", CLIP_PARTS)
    picture = np.random.default_rng(0).integers(0, 256, (224, 300, 3), np.uint8)
    middle = torch.from_numpy(picture[:, 38:262].copy()).permute(2, 0, 1) / 255
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    spread = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    with torch.inference_mode():
        features = whole.vision_model(pixel_values=((middle - mean) / spread)[None]).pooler_output
        expected = whole.visual_projection(features)[0]
    assert torch.allclose(clip.describe(picture), expected, atol=1e-5)
    with pytest.raises(UserError, match="holds another network than Clip"):
        load_weights(Clip(depth=2), tmp_path / "model.safetensors", CLIP_PARTS)


def test_casia_videos_prints_swaps_beside_their_targets(tmp_path, monkeypatch, capsys):
    import sys

    import casia_videos as benchmark

    def film(path, step):
        with VideoWriter(path, mark=None, crf=0) as writer:
            for i in range(4):
                writer.write(np.full((64, 64, 3), (40 + step * i, 200, 90), np.uint8))

    for name in ("0001-0", "0002-0"):
        film(tmp_path / "data" / "videos" / f"{name}.mp4", 0)
    film(tmp_path / "swaps" / "videos_normal" / "0001-0-0002-0.mp4", 50)
    (tmp_path / "video_pairs_normal.txt").write_text("0001-0 0002-0\n0002-0 0001-0\n")
    monkeypatch.setattr(benchmark, "load_networks", lambda *_: {"subject": Mean(), "background": Mean()})
    given = ["--data", tmp_path / "data", "--pairs", tmp_path, "--weights", tmp_path, "--protocols", "normal"]
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, [*given, "--swaps", tmp_path / "swaps"])])
    benchmark.main()
    out = capsys.readouterr().out
    assert "1 of 2 pairs have no swap: NOT the published protocol" in out
    rows = {line.split(" | ")[0]: line for line in out.splitlines() if line.startswith("| ")}
    assert rows["| targets"].count("1.0000") == 2
    assert float(rows["| swaps"].split(" | ")[3]) < 0.99
    assert "one-shot" in rows["| swaps"]
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, [*given, "--swaps", tmp_path / "none"])])
    with pytest.raises(UserError, match=r"no swap of the 2 pairs of normal; the first would be 0001-0-0002-0\.mp4"):
        benchmark.main()


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.load. received a zip:UserWarning")
def test_casia_videos_without_weights_or_with_a_program_says_so(tmp_path):
    import casia_videos as benchmark

    monkey = pytest.MonkeyPatch()
    monkey.setattr(benchmark, "Dino", lambda: torch.nn.Linear(1, 1))
    monkey.setattr(benchmark, "Clip", lambda: torch.nn.Linear(1, 1))
    with monkey.context():
        with pytest.raises(UserError, match=r"dino_vitbase16_pretrain\.pth: cannot be read as tensors"):
            benchmark.load_networks(tmp_path, [])
        torch.save(torch.nn.Linear(1, 1).state_dict(), tmp_path / "dino_vitbase16_pretrain.pth")
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), tmp_path / "pytorch_model.bin")
        with pytest.raises(UserError, match=r"pytorch_model\.bin: cannot be read as tensors"):
            benchmark.load_networks(tmp_path, [])
    monkey.undo()
    with pytest.raises(UserError, match=r"lacks videos/0001-0\.mp4"):
        benchmark.find_video(tmp_path, "0001-0")
