import io
import logging

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from facesmith.errors import MediaError, UserError
from facesmith.media.images import read_image, write_image
from facesmith.media.provenance import Mark
from facesmith.media.verification import verify_provenance


@pytest.fixture(scope="module")
def photo(asset):
    return np.array(Image.open(asset("astronaut.png")).convert("RGB"))[:200, 150:330]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image_applies_exif_rotation(photo, tmp_path, orientation):
    stored = {
        1: photo,
        2: photo[:, ::-1],
        3: photo[::-1, ::-1],
        4: photo[::-1],
        5: photo.swapaxes(0, 1),
        6: np.rot90(photo, 1),
        7: photo[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(photo, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), photo)


def test_read_image_sixteen_bit_is_scaled(photo, tmp_path):
    wide = photo.astype(np.uint16) * 257
    grey = wide[..., 1]
    for suffix in ("png", "tif"):
        cv2.imwrite(str(tmp_path / f"colour.{suffix}"), cv2.cvtColor(wide, cv2.COLOR_RGB2BGR))
        cv2.imwrite(str(tmp_path / f"grey.{suffix}"), grey)
        assert np.abs(read_image(tmp_path / f"colour.{suffix}").astype(int) - photo).max() <= 1
        assert np.array_equal(read_image(tmp_path / f"grey.{suffix}"), np.repeat(photo[..., 1:2], 3, 2))


def test_read_image_alpha_lies_over_mid_grey(photo, tmp_path):
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    alpha[:100] = 0
    for name in ("a.png", "a.webp"):
        Image.fromarray(np.dstack([photo, alpha])).save(tmp_path / name, lossless=True)
        image = read_image(tmp_path / name)
        assert (image[:100] == 128).all()
        assert np.array_equal(image[100:], photo[100:])
    palette = Image.fromarray(photo).quantize(16)
    palette.info["transparency"] = 0
    palette.save(tmp_path / "p.png", transparency=0)
    image = read_image(tmp_path / "p.png")
    assert (image[np.asarray(palette) == 0] == 128).all()


def test_read_image_cmyk_grey_and_bilevel(photo, tmp_path):
    Image.fromarray(photo).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=98, subsampling=0)
    assert np.abs(read_image(tmp_path / "cmyk.jpg").astype(int) - photo).mean() < 3
    Image.fromarray(photo).convert("L").save(tmp_path / "l.jpg")
    Image.fromarray(photo).convert("1").save(tmp_path / "one.png")
    for name in ("l.jpg", "one.png"):
        image = read_image(tmp_path / name)
        assert image.shape == photo.shape
        assert image.dtype == np.uint8


def test_read_image_icc_profile_is_converted(photo, tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(photo).save(tmp_path / "srgb.png", icc_profile=profile)
    assert np.array_equal(read_image(tmp_path / "srgb.png"), photo)
    # sRGB with its red and green primaries exchanged, under another name.
    for old, new in (
        (b"rXYZ", b"tmp "),
        (b"gXYZ", b"rXYZ"),
        (b"tmp ", b"gXYZ"),
        (b"\0s\0R\0G", b"\0x\0R\0G"),
    ):
        profile = profile.replace(old, new)
    Image.fromarray(photo).save(tmp_path / "exchanged.png", icc_profile=profile)
    assert np.abs(read_image(tmp_path / "exchanged.png").astype(int) - photo[..., [1, 0, 2]]).max() <= 2


def test_read_image_damaged_profile_warns(photo, tmp_path, caplog):
    Image.fromarray(photo).save(tmp_path / "broken.png", icc_profile=b"no profile at all")
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(read_image(tmp_path / "broken.png"), photo)
    assert "ICC" in caplog.text


@pytest.mark.parametrize("suffix", ["heic", "avif"])
def test_read_image_heic_and_avif(photo, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "heic":
        pillow_heif.from_pillow(Image.fromarray(photo)).save(path, quality=95)
    else:
        Image.fromarray(photo).save(path, quality=95)
    assert np.abs(read_image(path).astype(int) - photo).mean() < 4


def test_read_image_truncated_is_partly_read(photo, tmp_path, caplog):
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=95)
    (tmp_path / "half.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with caplog.at_level(logging.WARNING):
        image = read_image(tmp_path / "half.jpg")
    assert np.abs(image[:60].astype(int) - photo[:60]).mean() < 4
    assert "half.jpg: damaged" in caplog.text


def test_read_image_other_file_explains_in_one_line(tmp_path):
    (tmp_path / "text.jpg").write_text("hello, not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "stub.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (tmp_path / "folder.jpg").mkdir()
    for name, words in {
        "text.jpg": "is not an image",
        "empty.png": "0 bytes",
        "stub.jpg": "is",
        "folder.jpg": "cannot be read",
        "absent.jpg": "No such file",
    }.items():
        with pytest.raises(MediaError, match=words) as caught:
            read_image(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif"])
def test_write_image_carries_mark(photo, tmp_path, suffix):
    path = tmp_path / "new" / f"a.{suffix}"
    mark = Mark(identity="ada", consent="self", model_hash="ab" * 32, title='Ada Müller, "swapped" <here> & there')
    write_image(path, photo, mark=mark)
    found = verify_provenance(path)
    assert (found.state, found.mark, found.source_type) == ("signed", mark, "compositeWithTrainedAlgorithmicMedia")
    assert np.abs(read_image(path).astype(int) - photo).mean() < (0.01 if suffix in ("png", "tif") else 3)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    write_image(path, photo, mark=None)
    assert verify_provenance(path).state == "unmarked"


def test_write_image_unwritable_explains(photo, tmp_path):
    with pytest.raises(MediaError, match=r"use one of \.png"):
        write_image(tmp_path / "a.xyz", photo, mark=None)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_image(tmp_path / "file" / "a.png", photo, mark=None)
