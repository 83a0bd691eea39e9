import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from facesmith.errors import UserError
from facesmith.faces.face import keypoints_from_landmarks
from facesmith.faces.face_set.face_set import FaceSet, column_to_array
from facesmith.faces.geometry.alignment import TEMPLATES, estimate_alignment, warp_face


def test_face_set_arrays_cover_kept_faces(carphone_set: FaceSet) -> None:
    n = len(carphone_set)
    assert n == 30
    assert carphone_set.landmarks.shape == (n, 478, 3)
    assert carphone_set.landmarks.dtype == np.float32
    assert carphone_set.blendshapes.shape == (n, 52)
    assert carphone_set.pose.shape == (n, 3)
    assert carphone_set.embeddings.shape == (n, 128)
    np.testing.assert_allclose(np.linalg.norm(carphone_set.embeddings, axis=1), 1, atol=1e-5)
    for values in (carphone_set.sharpness, carphone_set.tracks, carphone_set.scores, carphone_set.sizes):
        assert values.shape == (n,)
    np.testing.assert_allclose(np.diff(carphone_set.times), 4 / 30, atol=1e-3)
    assert carphone_set.crop(0).shape == (512, 512, 3)


def test_face_set_landmarks_match_template_and_source(carphone_set: FaceSet, carphone_frames: list[np.ndarray]) -> None:
    five = keypoints_from_landmarks(carphone_set.landmarks)
    off = np.linalg.norm(five - TEMPLATES["ffhq_512"] * 512, axis=-1)
    assert np.median(off) < 15
    frame = carphone_frames[int(column_to_array(carphone_set.kept, "frame")[7])]
    matrix = column_to_array(carphone_set.kept, "matrix")[7].reshape(2, 3)
    assert np.abs(warp_face(frame, matrix, 512).astype(int) - carphone_set.crop(7)).mean() < 2
    to_source = carphone_set.to_source(7)
    points = carphone_set.landmarks[7, :, :2] @ to_source[:, :2].T + to_source[:, 2]
    left, top, right, bottom = column_to_array(carphone_set.kept, "box")[7]
    middle = points.mean(0)
    assert left < middle[0] < right
    assert top < middle[1] < bottom


@pytest.mark.parametrize(("template", "size"), [("arcface_128", 128), ("dfl_whole_face", 96)])
def test_face_set_aligned_equals_direct_alignment(
    carphone_set: FaceSet, carphone_frames: list[np.ndarray], template: str, size: int
) -> None:
    faces = carphone_set.aligned(template, size)
    assert (len(faces), faces.size, faces.template) == (30, size, template)
    raw = column_to_array(carphone_set.kept, "landmarks").reshape(-1, 478, 3)
    for i in (0, 15, 29):
        frame = carphone_frames[int(column_to_array(carphone_set.kept, "frame")[i])]
        direct = warp_face(frame, estimate_alignment(keypoints_from_landmarks(raw[i]), template, size), size)
        # The rows below the 512 crop are repeated border; 9 in 10 rows are face.
        inside = slice(0, int(0.9 * size))
        assert np.abs(direct[inside].astype(int) - faces.images[i][inside]).mean() < 2.5
    assert np.median(np.abs(keypoints_from_landmarks(faces.landmarks) - TEMPLATES[template] * size)) < 3


def test_aligned_faces_mirror_twice_is_identity(carphone_set: FaceSet) -> None:
    faces = carphone_set.aligned()[:4]
    mirrored = faces.mirror()
    np.testing.assert_array_equal(mirrored.images[:, :, 0], faces.images[:, :, -1])
    # Eyes keep their sides in the picture: the template still fits.
    off = keypoints_from_landmarks(mirrored.landmarks) - TEMPLATES["arcface_128"] * 128
    assert np.abs(off).mean() < 5
    again = mirrored.mirror()
    np.testing.assert_array_equal(again.images, faces.images)
    np.testing.assert_allclose(again.landmarks, faces.landmarks, atol=1e-4)
    np.testing.assert_array_equal(again.blendshapes, faces.blendshapes)


def test_aligned_faces_index_and_concat(carphone_set: FaceSet) -> None:
    faces = carphone_set.aligned()
    parts = [faces[:10], faces[np.arange(10, 30)]]
    np.testing.assert_array_equal(type(faces).concat(parts).images, faces.images)
    assert len(faces[np.zeros(30, bool)]) == 0
    with pytest.raises(ValueError, match="one template"):
        type(faces).concat([faces, carphone_set.aligned("ffhq_512", 128)])
    with pytest.raises(TypeError, match="slice"):
        faces[3]  # type: ignore[index]


def test_face_set_embedding_mean_methods_differ(carphone_set: FaceSet) -> None:
    means = {method: carphone_set.embedding_mean(method) for method in ("weighted", "mean", "median")}
    for mean in means.values():
        assert np.linalg.norm(mean) == pytest.approx(1, abs=1e-5)
        assert (carphone_set.embeddings @ mean).min() > 0.7
        assert mean @ means["mean"] > 0.99
    assert not np.array_equal(means["weighted"], means["mean"])
    assert carphone_set.embedding_std().shape == (128,)
    assert (carphone_set.embedding_std() > 0).all()
    with pytest.raises(ValueError, match="weighted, mean or median"):
        carphone_set.embedding_mean("mode")  # type: ignore[arg-type]


def test_face_set_folder_without_meta_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a face set"):
        FaceSet(tmp_path)


def test_face_set_flaws_of_another_version_are_refused(carphone_set: FaceSet, tmp_path: Path) -> None:
    folder = shutil.copytree(carphone_set.path, tmp_path / "set", ignore=shutil.ignore_patterns("training"))
    table = pq.read_table(folder / "faces.parquet")
    column = table.schema.get_field_index("flaws")
    flaws = [None if row is None else ["behind glass", *row[1:]] for row in table.column("flaws").to_pylist()]
    changed = table.set_column(column, table.schema.field(column), pa.array(flaws, table.schema.field(column).type))
    pq.write_table(changed, folder / "faces.parquet")
    with pytest.raises(UserError, match=r"faces\.parquet: holds a flaw that .* \(behind glass\)"):
        FaceSet(folder).flaws  # noqa: B018
