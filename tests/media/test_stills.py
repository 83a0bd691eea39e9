import io
import struct

import av
import cv2
import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms
from skimage.data import astronaut

from facesmith.errors import MediaError
from facesmith.media.images import read_image
from facesmith.media.provenance import Mark
from facesmith.media.stills import Still, read_still, write_still
from facesmith.media.verification import verify_provenance

MARK = Mark(identity="ada", consent="synthetic", model_hash=None, title="a still")
PHOTO = np.ascontiguousarray(astronaut()[:96, 200:328])


def deep_photo():
    return (PHOTO.astype(np.uint16) * 257) ^ np.arange(128, dtype=np.uint16)[None, :, None]


def swapped_primaries():
    """An RGB profile whose first channel is green and second red: sRGB with two entries of its table exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for old, new in ((b"rXYZ", b"?XYZ"), (b"gXYZ", b"rXYZ"), (b"?XYZ", b"gXYZ"), (b"sRGB", b"mine")):
        profile = profile.replace(old, new)
    return profile


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", ["rgb", "rgba", "grey"])
def test_still_sixteen_bits_stay(tmp_path, suffix, channels):
    levels = deep_photo()
    alpha = np.full((96, 128), 40000, np.uint16) if channels == "rgba" else None
    source = tmp_path / f"in{suffix}"
    if channels == "grey":
        stored = levels[..., 0]
    else:
        stored = levels[..., ::-1] if alpha is None else np.dstack([levels[..., ::-1], alpha])
    cv2.imwrite(str(source), stored)
    still = read_still(source)
    assert still.deep
    assert still.grey == (channels == "grey")
    np.testing.assert_array_equal(still.pixels, np.dstack([stored] * 3) if still.grey else levels)
    target = tmp_path / f"out{suffix}"
    assert write_still(target, still, mark=MARK) == []
    again = read_still(target)
    np.testing.assert_array_equal(again.pixels, still.pixels)
    assert (again.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(again.alpha, alpha)
    assert verify_provenance(target).mark == MARK
    assert verify_provenance(target).state == "signed"


def test_still_profile_exif_and_dpi_stay(tmp_path):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6  # upright after a quarter turn
    source = tmp_path / "in.jpg"
    Image.fromarray(PHOTO).save(source, exif=exif, icc_profile=swapped_primaries(), dpi=(300, 300), quality=95)
    still = read_still(source)
    assert still.pixels.shape == (128, 96, 3)
    assert still.profile is not None
    for suffix in (".jpg", ".png", ".webp", ".tif"):
        write_still(tmp_path / f"out{suffix}", still, mark=MARK)
        with Image.open(tmp_path / f"out{suffix}") as image:
            assert image.size == (96, 128)
            assert image.info["icc_profile"] == still.profile
            assert image.getexif().get(0x010F) == "Maker"
            assert image.getexif().get(0x0112, 1) == 1
            if suffix != ".webp":
                assert round(float(image.info["dpi"][0])) == 300


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_still_alpha_stays_or_is_told(tmp_path, suffix):
    alpha = np.tile(np.arange(128, dtype=np.uint8) * 2, (96, 1))
    source = tmp_path / f"in{suffix}"
    Image.fromarray(np.dstack([PHOTO, alpha])).save(source, **({"lossless": True} if suffix == ".webp" else {}))
    still = read_still(source)
    np.testing.assert_array_equal(still.preview(), read_image(source))
    assert write_still(tmp_path / f"out{suffix}", still, mark=None) == []
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert image.mode == "RGBA"
        np.testing.assert_array_equal(np.array(image)[..., 3], alpha)
    assert write_still(tmp_path / "out.jpg", still, mark=None) == ["transparency"]
    assert np.abs(read_image(tmp_path / "out.jpg").astype(int) - read_image(source)).mean() < 3


def test_still_grey_photo_stays_grey(tmp_path):
    Image.fromarray(PHOTO).convert("L").save(tmp_path / "in.png")
    still = read_still(tmp_path / "in.png")
    assert still.pixels.shape == (96, 128, 3)
    write_still(tmp_path / "out.png", still, mark=None)
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "L"
        assert Image.open(io.BytesIO((tmp_path / "in.png").read_bytes())).tobytes() == image.tobytes()


def test_still_of_another_colour_space_converts_both_ways():
    still = Still(PHOTO, profile=swapped_primaries())
    there = still.from_srgb(PHOTO.astype(np.float32))
    assert np.abs(there - PHOTO[..., [1, 0, 2]]).mean() < 1
    assert np.abs(still.to_srgb(there) - PHOTO).mean() < 1


def test_still_deep_colours_in_a_shallow_format_are_told(tmp_path):
    still = Still(deep_photo())
    assert write_still(tmp_path / "out.webp", still, mark=None) == ["16 bits a channel"]
    tifffile.imwrite(tmp_path / "float.tif", PHOTO.astype(np.float32) / 255, photometric="rgb")
    assert read_still(tmp_path / "float.tif").pixels.dtype == np.uint8


def test_still_tells_what_it_does_not_read(tmp_path):
    picture = Image.fromarray(PHOTO)
    picture.save(tmp_path / "noted.jpg", xmp=b"<x:xmpmeta/>")
    picture.save(tmp_path / "noted.heic", xmp=b"<x:xmpmeta/>")
    picture.convert("CMYK").save(tmp_path / "printed.jpg")
    picture.save(tmp_path / "pages.tif", save_all=True, append_images=[picture])
    picture.save(tmp_path / "plain.avif")
    with av.open(str(tmp_path / "deep.avif"), "w", format="avif") as container:
        stream = container.add_stream("libsvtav1", rate=1, options={"preset": "12"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p10le"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(PHOTO, format="rgb24")))
        container.mux(stream.encode())
    assert {path.name: read_still(path).unread for path in tmp_path.iterdir()} == {
        "noted.jpg": ("XMP metadata",),
        "noted.heic": ("XMP metadata",),
        "printed.jpg": ("its CMYK channels",),
        "pages.tif": ("a further picture",),
        "plain.avif": (),
        "deep.avif": ("10 bits a channel",),
    }


def test_still_heic_of_more_than_eight_bits_stays_deep(tmp_path):
    source = tmp_path / "in.heic"
    pillow_heif.encode("RGB;16", (128, 96), deep_photo().tobytes(), str(source), quality=100)
    still = read_still(source)
    assert still.deep
    assert np.abs(still.pixels.astype(int) - deep_photo().astype(int)).mean() < 2 * 257  # colour at half the size
    assert len(np.unique(still.pixels)) > 256
    assert write_still(tmp_path / "out.png", still, mark=None) == []
    np.testing.assert_array_equal(read_still(tmp_path / "out.png").pixels, still.pixels)


def test_still_deep_tiff_keeps_maker_and_tells_of_exposure(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    still = Still(deep_photo(), exif=exif.tobytes())
    assert write_still(tmp_path / "out.tif", still, mark=MARK) == []
    with tifffile.TiffFile(tmp_path / "out.tif") as written:
        assert written.pages[0].tags["Make"].value == "Maker"
        assert written.pages[0].shape == (96, 128, 3)
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = 0.5
    still = Still(deep_photo(), exif=exif.tobytes())
    assert write_still(tmp_path / "out.tif", still, mark=None) == [
        "EXIF of exposure and place beside 16 bits a channel"
    ]
    assert write_still(tmp_path / "out.png", still, mark=None) == []


def crafted_exif(orientation: int) -> bytes:
    """EXIF with words where the width belongs, which Pillow reads and cannot write."""
    words = b"a word\0"
    entries = struct.pack("<HHII", 256, 2, len(words), 38) + struct.pack("<HHIHH", 274, 3, 1, orientation, 0)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0) + words


def test_still_crafted_exif_is_left_out_or_refused_in_one_line(tmp_path):
    source = tmp_path / "in.jpg"
    Image.fromarray(PHOTO).save(source, exif=crafted_exif(1))
    still = read_still(source)
    assert (still.exif, still.unread) == (None, ("its EXIF, which is damaged",))
    Image.fromarray(PHOTO).save(source, exif=crafted_exif(6))
    with pytest.raises(MediaError, match="is damaged"):
        read_still(source)
