"""The generator whose geometry is a face mesh, on pictures it was never trained for."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from facesmith.faces.canonical import PersonPictures, build_person_pictures
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.thin_plate import compute_warp_maps
from facesmith.faces.pseudo_labels.frame_choice import FrameChooser
from facesmith.models.onnx.export import export
from facesmith.models.onnx.export_spec import ExportSpec, Precision
from facesmith.models.onnx.info import SwapperInfo
from facesmith.models.onnx.landmark_input import landmark_example
from facesmith.models.onnx.session import load_swapper
from facesmith.models.swapper.generator import ExportWrapper
from facesmith.models.swapper.mesh_geometry import MovingLeastSquares, mask_outline, measure_stretch, weigh_visible
from facesmith.models.swapper.mesh_warp import WARP_LANDMARKS, MeshWarp

SIZE = 128
SETTINGS: Any = {"sharpness": 900.0, "mixed": 3, "proportions": 0.25, "channels": [8, 8, 8]}


@pytest.fixture(scope="module")
def man(carphone_set: FaceSet) -> AlignedFaces:
    return carphone_set.aligned("arcface_128", SIZE)


@pytest.fixture(scope="module")
def pictures(man: AlignedFaces) -> PersonPictures:
    return build_person_pictures(man, 8)


@pytest.fixture(scope="module")
def generator(pictures: PersonPictures) -> MeshWarp:
    made = MeshWarp(size=SIZE, pictures=8, picture_size=SIZE, **SETTINGS).eval()
    made.set_pictures(**{name: torch.from_numpy(part) for name, part in vars(pictures).items()})
    return made


def to_unit(points: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(((points + 0.5) * (2 / SIZE) - 1).astype(np.float32))


def crops(faces: AlignedFaces) -> torch.Tensor:
    return torch.from_numpy(faces.images).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_moving_least_squares_of_an_affine_map_is_that_map() -> None:
    canonical = torch.rand(60, 2, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.7
    turn, shift = torch.tensor([[0.9, 0.2], [-0.3, 1.1]]), torch.tensor([0.05, -0.1])
    warp = MovingLeastSquares(canonical)
    moved = warp((canonical @ turn.T + shift)[None], torch.ones(1, 60))
    expected = (warp.places - shift) @ torch.linalg.inv(turn).T
    assert moved[0].flatten(1).T.numpy() == pytest.approx(expected.numpy(), abs=2e-3)


def test_moving_least_squares_on_a_face_is_near_the_thin_plate(man: AlignedFaces) -> None:
    canonical = FrameChooser(man).canonical
    chosen = list(WARP_LANDMARKS)
    warp = MovingLeastSquares(to_unit(canonical[chosen, :2]))
    moved = warp(to_unit(man.landmarks[:1, chosen, :2]), torch.ones(1, len(chosen)))
    spline = compute_warp_maps(man.landmarks[0], canonical[None], SIZE, smoothing=3e-4)[0]
    at = ((warp.places.numpy() + 1) * SIZE / 2).astype(int).clip(0, SIZE - 1)
    inside = (
        mask_outline(to_unit(man.landmarks[:1, : topology.MESH, :2]), SIZE, 0.05)[0, 0].numpy()[at[:, 1], at[:, 0]]
        > 0.9
    )
    ours = (moved[0].flatten(1).T.numpy() + 1) * (SIZE / 2) - 0.5
    apart = np.linalg.norm(ours - spline[at[:, 1], at[:, 0]], axis=1)[inside]
    assert inside.sum() > 100
    assert np.median(apart) < 0.8
    assert apart.max() < 4


def test_weigh_visible_of_a_turned_head_drops_the_far_cheek(pictures: PersonPictures) -> None:
    rest, normals = torch.from_numpy(pictures.canonical), torch.from_numpy(pictures.normals)
    assert weigh_visible(rest[None], rest, normals)[0, : topology.MESH].mean() > 0.9
    angle = torch.tensor(np.radians(60.0), dtype=torch.float32)
    x, y, z = rest.unbind(-1)
    turned = torch.stack([x * angle.cos() + z * angle.sin(), y, z * angle.cos() - x * angle.sin()], -1)
    weights = weigh_visible(turned[None], rest, normals)[0, topology.OVAL]
    depth = turned[topology.OVAL, 2]
    assert weights[depth > depth.quantile(0.8)].max() < 0.1
    assert weights[depth < depth.quantile(0.3)].min() > 0.9


@pytest.mark.parametrize("shares", [(1.0, 1.0), (0.2, 0.9), (1.3, 0.1), (-0.5, 0.8)])
def test_measure_stretch_of_a_turned_and_squeezed_grid_is_its_lesser_share(shares: tuple[float, float]) -> None:
    at = MovingLeastSquares(torch.zeros(3, 2), nodes=16).places.T.view(1, 2, 16, 16)
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    moved = torch.einsum("ij,njhw->nihw", turn @ torch.diag(torch.tensor(shares)) @ turn.T, at)
    expected = 0.0 if min(shares) < 0 else min(shares)  # a mirrored place is seen from behind
    assert measure_stretch(moved)[0, 0, 4:-4, 4:-4].numpy() == pytest.approx(expected, abs=1e-3)


def test_mask_outline_is_full_inside_and_empty_outside() -> None:
    corners = torch.tensor([[[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [0.0, 0.0]]])
    mask = mask_outline(corners, 64, 0.05)[0, 0]
    assert mask[20:44, 20:44].min() == 1
    assert mask[:14].max() == mask[:, -14:].max() == 0


def test_mesh_warp_untrained_gives_the_person_back(generator: MeshWarp, man: AlignedFaces) -> None:
    target = crops(man[:4])
    with torch.no_grad():
        face, mask, aux = generator(target)
    apart = ((face - target).abs() * mask).sum() / (3 * mask.sum())
    assert apart < 0.07
    assert 0.15 < mask.mean() < 0.6
    assert aux["mix"].sum(-1).numpy() == pytest.approx(1, abs=1e-5)


def test_mesh_warp_with_landmarks_fed_equals_its_own(generator: MeshWarp, man: AlignedFaces) -> None:
    target = crops(man[:2])
    with torch.no_grad():
        landmarks, _ = generator.mesh((target + 1) / 2)
        own, fed = generator(target), generator(target, None, landmarks)
    assert torch.equal(own.face, fed.face)


def test_mesh_warp_under_mixed_precision_is_that_of_full_precision(generator: MeshWarp, man: AlignedFaces) -> None:
    target = crops(man[:2])
    with torch.no_grad():
        full = generator(target)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = generator(target)
    assert torch.equal(full.face, mixed.face)
    assert torch.equal(full.aux["flow"], mixed.aux["flow"])


def test_mesh_warp_where_no_face_is_changes_nothing(generator: MeshWarp) -> None:
    noise = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert generator(noise).mask.max() == 0


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_mesh_warp_exported_to_onnx_equals_torch(
    generator: MeshWarp, man: AlignedFaces, tmp_path: Path, precision: Precision
) -> None:
    info = SwapperInfo("arcface_128", SIZE, identity="man", consent="licensed", takes_landmarks=True)
    inputs = {"target": crops(man[:1])}
    spec = ExportSpec(
        ExportWrapper(generator), inputs, ["output", "mask"], info.metadata(), optional=landmark_example()
    )
    report = export(spec, tmp_path / "man.onnx", precision=precision)
    assert report.covered > 0.05
    stored = [(each.data_type, list(each.dims)) for each in onnx.load(str(report.path)).graph.initializer]
    assert (onnx.TensorProto.UINT8, [8, 3, SIZE, SIZE]) in stored
    swapper = load_swapper(report.path)
    found, _ = swapper(man.images[:3])
    fed, masks = swapper(man.images[:3], None, man.landmarks[:3])
    assert masks.mean() > 0.15
    assert np.abs(found.astype(int) - fed)[masks > 0.9].mean() < 5


def test_mesh_warp_landmarks_of_the_analyzer_are_what_its_own_network_finds(
    generator: MeshWarp, man: AlignedFaces
) -> None:
    with torch.no_grad():
        own, presence = generator.find_landmarks(crops(man[:4]))
    fed = man.landmarks[:4] + np.array([0.5, 0.5, 0])
    eyes = np.linalg.norm(fed[:, topology.LEFT_EYE_OUTER] - fed[:, topology.RIGHT_EYE_OUTER], axis=-1)
    apart = np.linalg.norm(own.numpy()[..., :2] - fed[..., :2], axis=-1).mean(1) / eyes
    assert apart.max() < 0.03
    depth = own.numpy()[..., 2]
    assert np.polyfit(fed[..., 2].ravel(), depth.ravel(), 1) == pytest.approx([1, 0], abs=0.05)
    assert presence.min() == 1


def test_build_person_pictures_without_a_face_is_refused(man: AlignedFaces) -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        build_person_pictures(man[:0], 4)


def test_mesh_warp_of_other_counts_refuses_the_pictures(pictures: PersonPictures) -> None:
    made = MeshWarp(size=SIZE, pictures=3, picture_size=SIZE, **SETTINGS)
    with pytest.raises(ValueError, match=r"pictures must be \(3, 128, 128, 3\)"):
        made.set_pictures(**{name: torch.from_numpy(part) for name, part in vars(pictures).items()})


def test_mesh_warp_of_eyes_and_lips_no_picture_shows_lets_the_target_show(
    generator: MeshWarp, man: AlignedFaces
) -> None:
    target = crops(man[:1])
    with torch.no_grad():
        landmarks, _ = generator.find_landmarks(target)
        moved = landmarks.clone()
        upper, lower = [157, 158, 159, 160, 161], [154, 153, 145, 144, 163]  # the left eye's lids, pair by pair
        moved[:, upper] = moved[:, lower]
        moved[:, 14, 1] += 12  # the lower lip
        eye, mouth = landmarks[0, 145, :2].int(), landmarks[0, 13, :2].int() + torch.tensor([0, 4])
        marked = target.clone()
        for x, y in (eye, mouth):
            marked[:, 1, y - 1 : y + 2, x - 1 : x + 2] = 1
        own, changed = (generator(marked, None, points).face[0, 1] for points in (landmarks, moved))
    for x, y in (eye, mouth):
        assert changed[y, x] > 0.6
        assert own[y, x] < changed[y, x] - 0.15
