"""Read any still image as RGB uint8, and write one whole or not at all."""

import io
import logging
import struct
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif
from PIL import (
    ExifTags,
    Image,
    ImageCms,
    ImageFile,
    ImageOps,
    PngImagePlugin,
    TiffImagePlugin,
    TiffTags,
    UnidentifiedImageError,
)

from facesmith.errors import MediaError
from facesmith.files import atomic_write, require_regular
from facesmith.media.provenance import Mark, sign_file

pillow_heif.register_heif_opener()
logger = logging.getLogger(__name__)

NEUTRAL_GREY = 128
_SRGB = ImageCms.createProfile("sRGB")
_TRUNCATED_LOCK = threading.Lock()
_PNG_XMP, _TIFF_XMP = "XML:com.adobe.xmp", 700
_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
}


def read_image(path: str | Path) -> np.ndarray:
    """Read a still image as sRGB, upright.

    EXIF rotation is applied; 16-bit is scaled to 8; alpha lies over mid grey (128); an embedded ICC profile (CMYK,
    Display P3, Adobe RGB) is converted to sRGB, CMYK without one by the plain complement; of a multi-picture file the
    first is read. A truncated file gives what could be decoded, grey or black below, and logs a warning.

    Args:
        path: The file.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        MediaError: It is missing, not readable, or not an image.
    """
    file = Path(path)
    require_regular(file)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise MediaError(f"{file}: cannot be read ({error.strerror}); check path and permissions") from error
    if not content:
        raise MediaError(f"{file}: is empty (0 bytes); replace or remove it")
    try:
        return to_rgb(_decode(content, file))
    except UnidentifiedImageError as error:
        # Pillow knows no 16-bit colour TIFF; OpenCV does.
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise MediaError(f"{file}: is not an image that can be decoded; replace or remove it") from error
        return _from_opencv(pixels)
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise MediaError(f"{file}: has more than {most} megapixels; give a smaller picture") from error
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        raise MediaError(f"{file}: is damaged ({_line(error)}); replace or remove it") from error


def to_rgb(image: Image.Image) -> np.ndarray:
    """Convert a Pillow image of any mode to (H, W, 3) uint8 RGB, as `read_image` does."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _from_wide_grey(np.asarray(image))
    image = _to_srgb(image)
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        ground = Image.new("RGBA", colour.size, (NEUTRAL_GREY, NEUTRAL_GREY, NEUTRAL_GREY, 255))
        image = Image.alpha_composite(ground, colour)
    return np.array(image.convert("RGB"))


def write_image(
    path: str | Path,
    rgb: np.ndarray,
    *,
    mark: Mark | None,
    quality: int = 95,
    effort: int = 4,
    carried: Mapping[str, Any] | None = None,
) -> None:
    """Write a picture; it appears whole or not at all.

    Args:
        path: Its suffix names the format (.png .jpg .webp .tif .avif).
        rgb: (H, W, 3) uint8; (H, W) is grey, a second or fourth channel is alpha.
        mark: Provenance of a synthetic picture, as XMP and as signed C2PA manifest; None when it shows
            none.
        quality: 1..100, of the lossy formats.
        effort: 0..9, of PNG.
        carried: ICC profile, EXIF and dpi, as Pillow names them.

    Raises:
        UserError: an unknown suffix, a folder that cannot be written, a full disk, or it cannot be signed.
    """
    file = Path(path)
    kind = _FORMATS.get(file.suffix.lower())
    if kind is None:
        raise MediaError(f"{file}: cannot write '{file.suffix}' images; use one of {', '.join(_FORMATS)}")
    options: dict[str, Any] = {"compress_level": effort} if kind == "PNG" else {}
    options |= carried or {}
    if kind not in ("PNG", "TIFF"):
        options["quality"] = quality
    if kind == "JPEG" and quality >= 90:
        options["subsampling"] = 0
    if mark is not None:
        options |= _with_xmp(kind, mark.xmp())
    if kind == "TIFF" and "tiffinfo" in options and "exif" in options:
        _add_exif(options["tiffinfo"], options.pop("exif"))
    with atomic_write(file) as temporary:
        try:
            Image.fromarray(rgb).save(temporary, kind, **options)
        except OSError as error:
            raise MediaError(f"{file}: cannot be written ({_line(error)}); choose another output") from error
        if mark is not None:
            sign_file(temporary, mark)


def encode_image(rgb: np.ndarray, suffix: str, *, mark: Mark | None, quality: int = 95) -> bytes:
    """Return what `write_image` would write, for pictures inside of documents.

    Args:
        rgb: (H, W, 3) uint8.
        suffix: Names the format.
        mark: See `write_image`.
        quality: See `write_image`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"picture{suffix}")
        write_image(path, rgb, mark=mark, quality=quality)
        return path.read_bytes()


def _add_exif(tags: TiffImagePlugin.ImageFileDirectory_v2, content: bytes) -> None:
    """Add EXIF to the tags of a TIFF, where Pillow would drop one of the two."""
    exif = Image.Exif()
    exif.load(content)
    for tag, value in exif.items():
        tags[tag] = exif.get_ifd(tag) if tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo) else value


def _with_xmp(kind: str, packet: bytes) -> dict[str, Any]:
    """Return the options under which Pillow writes an XMP packet into a format."""
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt(_PNG_XMP, packet.decode())
        return {"pnginfo": text}
    if kind == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags.tagtype[_TIFF_XMP] = TiffTags.BYTE
        tags[_TIFF_XMP] = packet
        return {"tiffinfo": tags}
    return {"xmp": packet}


def _decode(content: bytes, file: Path) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    try:
        image.load()
    except (OSError, SyntaxError) as error:
        # The switch is global to Pillow, hence the lock; a second pass over a fresh image recovers the rest.
        with _TRUNCATED_LOCK:
            ImageFile.LOAD_TRUNCATED_IMAGES = True
            try:
                image = Image.open(io.BytesIO(content))
                image.load()
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES = False
        logger.warning("%s: damaged (%s); what could be decoded is used", file, _line(error))
    return image


def _to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode in ("RGB", "RGBA") and "srgb" in ImageCms.getProfileDescription(source).casefold():
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode=mode)
    except (ImageCms.PyCMSError, OSError) as error:
        logger.warning("ICC profile not usable (%s); the colours are taken as sRGB", _line(error))
        return image
    return image if converted is None else converted


def _from_wide_grey(pixels: np.ndarray) -> np.ndarray:
    """Return grey of 16 bits (0..65535), 32 bits (0..255 or 0..65535) or float (0..1 or 0..255) as RGB uint8."""
    values = pixels.astype(np.float32)
    if pixels.dtype == np.uint16 or (pixels.dtype.kind in "iu" and values.max() > 255):
        values /= 257
    elif pixels.dtype.kind == "f" and values.max() <= 1:
        values *= 255
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _from_opencv(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        return _from_wide_grey(pixels)
    if pixels.dtype == np.uint16:
        pixels = np.rint(pixels / 257).astype(np.uint8)
    elif pixels.dtype.kind == "f":
        pixels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    rgb = cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.float32) / 255
        rgb = np.rint(rgb * alpha + NEUTRAL_GREY * (1 - alpha)).astype(np.uint8)
    return rgb


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
