import logging

import numpy as np
import pytest

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.face import keypoints_from_landmarks
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry import masks, topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, warp_face
from facesmith.faces.geometry.thin_plate import compute_warp_maps, fit_similarity
from facesmith.faces.pseudo_labels.frame_choice import FrameChooser, sample_farthest
from facesmith.faces.pseudo_labels.pseudo_truth import build
from facesmith.faces.pseudo_labels.training_items import KINDS, TrainingItems


@pytest.fixture(scope="module")
def person(carphone_set: FaceSet) -> AlignedFaces:
    return carphone_set.aligned()[:16]


@pytest.fixture(scope="module")
def portrait(astronaut: np.ndarray) -> AlignedFaces:
    analyzer = MediaPipeAnalyzer(detector_sizes=[640], min_score=0.6)
    face = analyzer(astronaut)[0]
    analyzer.close()
    matrix = estimate_alignment(keypoints_from_landmarks(face.landmarks), "arcface_128", 128)
    landmarks = transform_points(face.landmarks, matrix).astype(np.float32)
    return AlignedFaces(warp_face(astronaut, matrix, 128)[None], landmarks[None], face.blendshapes[None], "arcface_128")


@pytest.fixture(scope="module")
def items(person: AlignedFaces, portrait: AlignedFaces) -> TrainingItems:
    return build(person, portrait, frames=5, donors=2, variants=4, progress=False)


def test_build_makes_every_kind_with_its_shapes(items: TrainingItems) -> None:
    assert [int((items.kind == kind).sum()) for kind in KINDS[:4]] == [2, 4, 10, 5]
    assert items.target.shape == items.truth.shape == (21, 128, 128, 3)
    assert ((items.who == -1) == (items.kind == "self")).all()
    assert np.isfinite(items.canonical.astype(np.float32)).all()


def test_build_truth_differs_inside_the_face_only(items: TrainingItems) -> None:
    pseudo = int(np.flatnonzero(items.kind == "target")[0])
    change = np.abs(items.truth[pseudo].astype(int) - items.target[pseudo]).mean(-1)
    assert change[items.alpha[pseudo] == 0].max() == 0
    assert change[items.alpha[pseudo] == 255].mean() > 5
    own = items.kind == "self"
    assert (items.truth[own] == items.target[own]).all()
    worn = items.kind == "reversed"
    assert all((truth == items.truth[own]).all((1, 2, 3)).any() for truth in items.truth[worn])


def test_build_truth_keeps_the_scenes_skin_colour(items: TrainingItems, portrait: AlignedFaces) -> None:
    core = masks.skin_mask(portrait.landmarks[0], 128) > 0.5
    scene, truth = items.target[0][core].mean(0), items.truth[0][core].mean(0)
    assert np.abs(scene - truth).max() < 6


def test_build_canonical_maps_eyes_onto_eyes(items: TrainingItems, person: AlignedFaces) -> None:
    both = AlignedFaces.concat([person, person.mirror()])
    regions = masks.eyes_and_mouth_masks(FrameChooser(both).canonical, 128)
    # the regions are drawn in canonical coordinates: looked up through the map they cover the target's eyes
    pseudo = items.canonical[0].astype(np.float32)
    at = np.clip(((pseudo + 1) * 64 - 0.5).round().astype(int), 0, 127)
    eyes = regions[0][at[..., 1], at[..., 0]] > 0.5
    rows, columns = np.nonzero(eyes)
    assert 40 < rows.mean() < 60
    assert abs(columns.mean() - 64) < 6


def test_build_same_seed_same_items_and_round_trip(
    person: AlignedFaces, portrait: AlignedFaces, items: TrainingItems, tmp_path
) -> None:
    again = build(person, portrait, frames=5, donors=2, variants=4, progress=False)
    assert (again.truth == items.truth).all()
    items.save(tmp_path / "items.npz")
    loaded = TrainingItems.load(tmp_path / "items.npz")
    assert (loaded.kind == items.kind).all()
    assert (loaded.canonical == items.canonical).all()
    assert [path.name for path in tmp_path.iterdir()] == ["items.npz"]


def test_build_without_targets_makes_self_items_only(person: AlignedFaces, portrait: AlignedFaces) -> None:
    items = build(person[:1], portrait[:0], frames=3, variants=5, progress=False)
    assert items.kind.tolist() == ["self", "self"]


def test_build_far_pose_is_warned_of(
    person: AlignedFaces, portrait: AlignedFaces, caplog: pytest.LogCaptureFixture
) -> None:
    turned = portrait.landmarks.copy()
    turned[..., 0] = 64 + (turned[..., 0] - 64) * 0.4
    profile = AlignedFaces(portrait.images, turned, portrait.blendshapes, portrait.template)
    with caplog.at_level(logging.WARNING):
        build(person, profile, names=["side.jpg"], frames=1, donors=1, progress=False)
    assert "side.jpg" in caplog.text


def test_build_mismatched_faces_are_refused(person: AlignedFaces, portrait: AlignedFaces) -> None:
    other = AlignedFaces(portrait.images, portrait.landmarks, portrait.blendshapes, "ffhq_512")
    with pytest.raises(ValueError, match="same template"):
        build(person, other, progress=False)
    with pytest.raises(ValueError, match="at least one"):
        build(person[:0], portrait, progress=False)


def test_warp_maps_own_points_are_the_identity(portrait: AlignedFaces) -> None:
    points = portrait.landmarks[0]
    where = compute_warp_maps(points, points[None], 128, smoothing=0.0)[0]
    x, y = np.meshgrid(np.arange(128), np.arange(128))
    assert np.abs(where - np.stack([x, y], -1)).max() < 0.01


def test_fit_similarity_undoes_a_turn() -> None:
    shape = np.random.default_rng(0).normal(size=(30, 2))
    turned = shape @ np.array([[0.6, 0.8], [-0.8, 0.6]]) * 1.7 + (3, -2)
    assert np.allclose(fit_similarity(turned[None], shape)[0], shape)


def test_sample_farthest_begins_with_first_and_repeats_when_few() -> None:
    features = np.array([[0.0], [1.0], [10.0]])
    assert sample_farthest(features, 2, [1]).tolist() == [1, 2]
    assert len(sample_farthest(features, 7)) == 7


def hide(person: AlignedFaces, rows: list[int], region: str) -> AlignedFaces:
    visible = person.visible.copy()
    visible[rows, topology.REGIONS.index(region)] = False
    return AlignedFaces(person.images, person.landmarks, person.blendshapes, person.template, visible)


def test_build_takes_nothing_of_a_frame_where_the_mouth_is_covered(
    person: AlignedFaces, portrait: AlignedFaces
) -> None:
    covered = hide(person, list(range(10)), "mouth")
    items = build(covered, portrait, frames=len(person) * 2, donors=1, variants=0, progress=False)
    own = np.concatenate([person.images, person.mirror().images])
    rows = {int(np.flatnonzero((own == truth).all((1, 2, 3)))[0]) for truth in items.truth[items.kind == "self"]}
    assert len(rows) > 8
    assert rows <= {*range(10, 16), *range(26, 32)}
    chooser = FrameChooser(AlignedFaces.concat([covered, covered.mirror()]))
    choices = [chooser.choose(*wanted) for wanted in zip(person.landmarks, person.blendshapes, strict=True)]
    assert {choice.mouth % 16 for choice in choices} <= set(range(10, 16))
    assert {choice.base % 16 for choice in choices} <= set(range(10, 16))
    assert {choice.eyes % 16 for choice in choices} & set(range(10)), "its eyes are seen"


def test_build_of_a_person_covered_everywhere_leaves_the_region_out(
    person: AlignedFaces, portrait: AlignedFaces
) -> None:
    covered = hide(person, list(range(16)), "mouth")
    items = build(covered, portrait, frames=2, donors=1, variants=0, progress=False)
    x, y = np.rint(person.landmarks[:, 14, :2]).astype(int).mean(0).astype(int)
    truths = np.isin(items.kind, ["self", "reversed"])
    assert truths.sum() == 4
    assert (items.hull[truths, y, x] == 0).all()
    assert (items.hull[truths].mean((1, 2)) > 40).all()
    assert (items.hull[items.kind == "target", y, x] == 255).all()


def test_build_some_kinds_makes_no_others(person: AlignedFaces, portrait: AlignedFaces) -> None:
    items = build(person, portrait, kinds=("reversed",), frames=2, donors=1, variants=3, progress=False)
    assert items.kind.tolist() == ["reversed"] * 2
    assert items[np.array([1])].kind.tolist() == ["reversed"]
