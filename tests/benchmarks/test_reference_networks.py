"""The networks of published protocols against the formulas of their papers, on random weights."""

import numpy as np
import pytest
import scipy.io
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


def test_facewarehouse_halves_pictures_by_its_first_convolutions():
    from reference_networks import FaceWarehouse

    torch.manual_seed(0)
    network = FaceWarehouse(np.zeros((5, 3))).eval()
    x = torch.rand(1, 256, 8, 8)
    block = network.layer2[0]
    with torch.inference_mode():
        inside = functional.relu(block.bn1(functional.conv2d(x, block.conv1.weight, stride=2)))
        inside = functional.relu(block.bn2(functional.conv2d(inside, block.conv2.weight, padding=1)))
        beside = block.downsample[1](functional.conv2d(x, block.downsample[0].weight, stride=2))
        expected = functional.relu(block.bn3(functional.conv2d(inside, block.conv3.weight)) + beside)
        assert torch.allclose(block(x), expected, atol=1e-5)
        assert network(torch.rand(1, 3, 224, 224)).shape == (1, 64)
    assert network.maxpool(torch.rand(1, 1, 112, 112)).shape[-1] == 56


def test_align_to_mean_face_scales_the_face_to_102_px_and_puts_it_in_the_middle():
    from reference_networks import align_to_mean_face

    mean_face = np.array([[-0.3, 0.3, 0.2], [0.3, 0.3, 0.2], [0.0, 0.0, 0.5], [-0.25, -0.3, 0.2], [0.25, -0.3, 0.2]])
    shown = mean_face[:, :2] * 80 + (70, 30)  # upwards
    picture = np.zeros((160, 200, 3), np.uint8)
    points = np.c_[shown[:, 0], 160 - 1 - shown[:, 1]]
    for x, y in points.round().astype(int):
        picture[y - 1 : y + 2, x - 1 : x + 2] = 255
    face = align_to_mean_face(picture, points, mean_face)
    assert face.shape == (224, 224, 3)
    for (x, y), _ in zip(mean_face[:, :2] * 102, points, strict=True):
        near = face[int(112 - y) - 4 : int(112 - y) + 5, int(112 + x) - 4 : int(112 + x) + 5]
        assert near.max() > 150, (x, y)


def test_read_mean_face_averages_the_corners_of_the_eyes(tmp_path):
    from reference_networks import read_mean_face

    points = np.arange(68 * 3, dtype=np.float64).reshape(68, 3)
    scipy.io.savemat(tmp_path / "mean.mat", {"lm": points})
    found = read_mean_face(tmp_path / "mean.mat")
    assert found[0] == pytest.approx((points[36] + points[39]) / 2)
    assert found[2:] == pytest.approx(points[[30, 48, 54]])
    scipy.io.savemat(tmp_path / "other.mat", {"lm": points[:5]})
    with pytest.raises(UserError, match=r"other\.mat: holds points of shape \(5, 3\)"):
        read_mean_face(tmp_path / "other.mat")
    with pytest.raises(UserError, match=r"none\.mat: holds no points of a mean face"):
        read_mean_face(tmp_path / "none.mat")


def test_load_weights_of_another_network_or_with_code_is_refused(weights, tmp_path):
    from reference_networks import COSFACE, Ddfa, load_weights

    with pytest.raises(UserError, match=r"holds another network than Ddfa"):
        load_weights(Ddfa(), weights / COSFACE)
    torch.save({"state_dict": print}, tmp_path / "code.pth")
    with pytest.raises(UserError, match=r"cannot be read as tensors"):
        load_weights(Ddfa(), tmp_path / "code.pth")
    with pytest.raises(UserError, match=r"none\.pth: cannot be read"):
        load_weights(Ddfa(), tmp_path / "none.pth")
