import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.media.images import write_image
from facesmith.models.onnx.info import SwapperInfo
from facesmith.models.onnx.source import find_source

from ...made_profiles import made_profile


def analyzer() -> MediaPipeAnalyzer:
    return MediaPipeAnalyzer(detector_sizes=[640], min_score=0.7)


BAKED = SwapperInfo("arcface_128", 256, identity="ada", consent="written", consent_note="signed")
SILENT = SwapperInfo("dfl_whole_face", 256, identity="somebody")
ARCFACE = SwapperInfo("arcface_128", 256, embedder="arcface_w600k_r50", embedding_size=512)
PHOTO = SwapperInfo("ffhq_512", 256, photo=("ffhq_512", 256))


@pytest.fixture
def profile(tmp_path):
    def write(embedder: str, size: int):
        mean = np.zeros(size, np.float32)
        mean[1] = 2.0
        made = made_profile("bob", mean, embedder=embedder, consent_note="by word")
        path = tmp_path / f"{embedder}.json"
        made.save(path)
        return path

    return write


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "woman.png"
    write_image(path, astronaut(), mark=None)
    return path


def source(model, tmp_path, **given):
    settings = {"profile": None, "photo": None, "consent": None, "analyzer": analyzer}
    return find_source(model, tmp_path / "m.onnx", **(settings | given))


def test_find_source_baked_identity_needs_nothing(tmp_path):
    found = source(BAKED, tmp_path)
    assert found.value is None
    assert (found.identity, found.consent, found.consent_note) == ("ada", "written", "signed")
    assert source(SILENT, tmp_path, consent="licensed").consent == "licensed"


def test_find_source_profile_gives_embedding_and_consent(tmp_path, profile):
    found = source(ARCFACE, tmp_path, profile=profile("arcface_w600k_r50", 512))
    assert found.value.shape == (512,)
    assert np.linalg.norm(found.value) == pytest.approx(1)
    assert (found.identity, found.consent, found.consent_note) == ("bob", "self", "by word")


def test_find_source_photo_is_aligned(tmp_path, picture):
    found = source(PHOTO, tmp_path, photo=picture, consent="public_domain")
    assert found.value.shape == (3, 256, 256)
    assert 0 <= found.value.min() < 0.2
    assert 0.8 < found.value.max() <= 1
    red, _, blue = found.value[:, 140:180, 100:150].mean((1, 2))
    assert red > blue + 0.1  # skin, in RGB
    assert (found.identity, found.consent) == ("woman", "public_domain")


def test_find_source_missing_or_needless_raises(tmp_path, profile, picture):
    wrong = profile("sface", 128)
    for model, given, words in (
        (BAKED, {"profile": wrong}, "task.profile="),
        (BAKED, {"photo": picture}, "has its identity baked in; omit task.source_photo"),
        (SILENT, {}, "task.consent: "),
        (ARCFACE, {}, "takes any identity; give task.profile="),
        (ARCFACE, {"profile": wrong}, "made with embedder sface (128), but arcface_w600k_r50 (512) is in use"),
        (ARCFACE, {"photo": picture}, "takes an embedding; make a profile"),
        (PHOTO, {}, "takes a photo of the person; give task.source_photo="),
        (PHOTO, {"profile": wrong}, "takes a photo; give task.source_photo="),
        (PHOTO, {"photo": picture}, "does not state whether the person consented; give task.consent="),
    ):
        with pytest.raises(UserError) as caught:
            source(model, tmp_path, **given)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_find_source_photo_without_face_raises(tmp_path):
    write_image(tmp_path / "wall.png", np.full((200, 200, 3), 90, np.uint8), mark=None)
    with pytest.raises(UserError, match=r"wall\.png: no face found"):
        source(PHOTO, tmp_path, photo=tmp_path / "wall.png", consent="self")
