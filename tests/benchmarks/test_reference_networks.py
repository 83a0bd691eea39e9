"""The networks of published protocols against the formulas of their papers, on random weights."""

import numpy as np
import pytest
import torch
import torchvision
from torch.nn import functional

from facesmith.errors import UserError


def test_hopenet_equals_resnet_50_with_the_expectation_over_its_bins():
    from reference_networks import HopeNet

    torch.manual_seed(0)
    network = HopeNet().eval()
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    resnet = torchvision.models.resnet50()
    resnet.fc = torch.nn.Identity()
    resnet.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("fc_")})
    normalise = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    given = normalise(torch.from_numpy(picture[..., ::-1].copy()).permute(2, 0, 1) / 255)[None]
    with torch.inference_mode():
        features = resnet.eval()(given)
        for i, head in enumerate((network.fc_yaw, network.fc_pitch, network.fc_roll)):
            bins = functional.softmax(head(features), 1)[0]
            expected = sum(float(share) * number for number, share in enumerate(bins)) * 3 - 99
            assert network.angles(picture)[i] == pytest.approx(expected, abs=1e-3)


def test_cosface_block_and_embedding_are_those_of_the_paper():
    from reference_networks import CosFace, align_cosface

    torch.manual_seed(0)
    network = CosFace().eval()
    block = network.layer3[2]
    x = torch.randn(1, 256, 4, 4)
    inside = functional.prelu(functional.conv2d(x, block.conv1.weight, padding=1), block.prelu1.weight)
    expected = x + functional.prelu(functional.conv2d(inside, block.conv2.weight, padding=1), block.prelu2.weight)
    assert torch.allclose(block(x), expected, atol=1e-5)
    picture = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    points = np.array([[50.0, 60], [100, 62], [75, 90], [55, 115], [96, 116]])
    face = torch.from_numpy(align_cosface(picture, points).astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        both = torch.cat([network(face), network(face.flip(3))], 1)[0]
    assert network.embed(picture, points) == pytest.approx((both / both.norm()).numpy(), abs=1e-5)


def test_align_cosface_brings_points_onto_the_template():
    from reference_networks import align_cosface

    template = np.array(
        [[30.2946, 51.6963], [65.5318, 51.6963], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.3655]]
    )
    turn = 1.7 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    points = template @ turn.T + (60, 20)
    picture = np.zeros((300, 300, 3), np.uint8)
    for x, y in points.round().astype(int):
        picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    face = align_cosface(picture, points)
    assert face.shape == (112, 96, 3)
    assert all(face[y, x].min() > 200 for x, y in template.round().astype(int))


def test_ddfa_reads_a_checkpoint_of_several_gpus(weights):
    from reference_networks import DDFA, Ddfa, load_weights

    network = Ddfa()
    digest = load_weights(network, weights / DDFA)
    assert len(digest) == 64
    found = network.expression(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8))
    assert found.shape == (10,)
    assert not network.training


def test_load_weights_of_another_network_or_with_code_is_refused(weights, tmp_path):
    from reference_networks import COSFACE, Ddfa, load_weights

    with pytest.raises(UserError, match=r"holds another network than Ddfa"):
        load_weights(Ddfa(), weights / COSFACE)
    torch.save({"state_dict": print}, tmp_path / "code.pth")
    with pytest.raises(UserError, match=r"cannot be read as tensors"):
        load_weights(Ddfa(), tmp_path / "code.pth")
    with pytest.raises(UserError, match=r"none\.pth: cannot be read"):
        load_weights(Ddfa(), tmp_path / "none.pth")
