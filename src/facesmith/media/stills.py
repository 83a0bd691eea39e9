"""A still picture with everything it carries: depth, alpha, colour profile and EXIF."""

import io
import struct
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
import pillow_heif
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from facesmith.errors import MediaError
from facesmith.files import atomic_write
from facesmith.media.images import NEUTRAL_GREY, read_image, write_image
from facesmith.media.provenance import Mark, sign_file

Levels = NDArray[np.integer[Any]]
Floats = NDArray[np.float32]

_DEEP: Final = (".png", ".tif", ".tiff")
_NO_ALPHA: Final = (".jpg", ".jpeg")
_ORIENTATION: Final = 274  # EXIF
_BITS: Final = 258  # TIFF: bits a sample
_XMP_TAG: Final = 700  # TIFF
_XMP_KEYS: Final = ("xmp", "XML:com.adobe.xmp")
_WORDS: Final = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
)
"""Tags of EXIF's first folder that a TIFF of 16 bits keeps."""
_EXIF_FOLDERS: Final = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_HEIF_EXTRAS: Final = ("depth_images", "aux")
_ALBUMS: Final = ("MPO", "TIFF", "HEIF")
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_INTENT: Final = ImageCms.Intent.RELATIVE_COLORIMETRIC


@dataclass
class Still:
    """A picture in the depth and the colour space of its file, upright.

    Attributes:
        pixels: (H, W, 3) RGB, uint8, or uint16 of full scale.
        alpha: (H, W) of the same type; None for an opaque picture.
        grey: Whether the file has one channel of colour.
        profile: ICC profile of `pixels`; None for sRGB.
        exif: EXIF without orientation and thumbnail, which would show the face as it was.
        dpi: Dots an inch, across and down; None where the file does not state it.
        unread: What else the file holds, in a few words each.
    """

    pixels: Levels
    alpha: Levels | None = None
    grey: bool = False
    profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    unread: tuple[str, ...] = ()
    _transforms: tuple[Any, Any] | None = field(default=None, init=False, repr=False)

    @property
    def deep(self) -> bool:
        """Whether it has 16 bits a channel."""
        return self.pixels.dtype == np.uint16

    def to_srgb(self, rgb: Floats) -> Floats:
        """Convert (H, W, 3) in 0..255 from the picture's colour space to sRGB."""
        return self._convert(rgb, 0)

    def from_srgb(self, rgb: Floats) -> Floats:
        """Convert (H, W, 3) in 0..255 from sRGB to the picture's colour space."""
        return self._convert(rgb, 1)

    def preview(self) -> NDArray[np.uint8]:
        """Return it as `images.read_image` does: (H, W, 3) sRGB uint8, over mid grey where it is transparent."""
        pixels = self.pixels / 257 if self.deep else self.pixels
        rgb = self.to_srgb(np.asarray(pixels, np.float32))
        if self.alpha is not None:
            share = (self.alpha.astype(np.float32) / np.iinfo(self.alpha.dtype).max)[..., None]
            rgb = np.asarray(rgb * share + NEUTRAL_GREY * (1 - share), np.float32)
        return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)

    def resized(self, width: int, height: int) -> "Still":
        """Return it in another size, in px."""
        how = cv2.INTER_AREA if width < self.pixels.shape[1] else cv2.INTER_LANCZOS4

        def resize(levels: Levels) -> Levels:
            return np.asarray(cv2.resize(levels, (width, height), interpolation=how), levels.dtype)

        return replace(self, pixels=resize(self.pixels), alpha=None if self.alpha is None else resize(self.alpha))

    def _convert(self, rgb: Floats, way: int) -> Floats:
        if self.profile is None:
            return rgb
        if self._transforms is None:
            own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(self.profile)), ImageCms.createProfile("sRGB")
            self._transforms = (
                ImageCms.buildTransform(own, srgb, "RGB", "RGB", _INTENT),
                ImageCms.buildTransform(srgb, own, "RGB", "RGB", _INTENT),
            )
        levels = Image.fromarray(np.clip(np.rint(rgb), 0, 255).astype(np.uint8))
        converted = ImageCms.applyTransform(levels, self._transforms[way])
        return np.asarray(converted, np.float32)


def read_still(path: Path) -> Still:
    """Read a still picture with all that it carries.

    Pictures that are neither RGB nor grey of 8 or 16 bits are read as `images.read_image` does.

    Args:
        path: The file.

    Raises:
        MediaError: It is missing, not readable, or not an image.
    """
    plain = read_image(path)  # tells what is wrong with it
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return _from_pillow(image, content, plain)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, av.FFmpegError):
        return Still(plain)  # damaged, or of a format that Pillow does not know: read_image made the best of it


def _from_pillow(image: Image.Image, content: bytes, plain: NDArray[np.uint8]) -> Still:
    exif = image.getexif()
    turned = exif.get(_ORIENTATION, 1)
    upright = ImageOps.exif_transpose(image)
    if _ORIENTATION in exif:
        del exif[_ORIENTATION]
    deep = _decode_deep(image, content)
    unread = _find_unread(image, content, 8 if deep is None else 16)
    try:
        packed = exif.tobytes() if len(exif) else None
    except (struct.error, ValueError, TypeError):
        packed = None
        unread.append("its EXIF, which is damaged")
    carried: dict[str, Any] = {
        "exif": packed,
        "dpi": image.info.get("dpi"),
        "unread": tuple(unread),
    }
    profile = _usable_profile(image)
    if deep is not None:
        grey = deep.ndim == 2
        colour = deep if grey else deep[..., :3]
        alpha = deep[..., 3] if not grey and deep.shape[2] == 4 else None
        rgb = np.repeat(colour[..., None], 3, axis=2) if grey else colour
        rgb, alpha = _turn(rgb, turned), None if alpha is None else _turn(alpha, turned)
        return Still(rgb, alpha, grey, None if grey else profile, **carried)
    if upright.mode == "L" or (upright.mode == "LA"):
        alpha = np.array(upright.getchannel("A")) if upright.mode == "LA" else None
        return Still(np.repeat(np.array(upright.getchannel(0))[..., None], 3, axis=2), alpha, True, None, **carried)
    if upright.has_transparency_data and upright.mode in ("RGBA", "P", "PA", "RGB"):
        rgba = np.array(upright.convert("RGBA"))
        return Still(np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3]), False, profile, **carried)
    if upright.mode == "RGB":
        return Still(np.array(upright), None, False, profile, **carried)
    carried["unread"] += (f"its {upright.mode} channels",)
    return Still(plain, None, False, None, **carried)


def _find_unread(image: Image.Image, content: bytes, bits: int) -> list[str]:
    """Return what of a picture is not carried, in a few words each.

    Args:
        image: The picture, loaded.
        content: Of its file.
        bits: In which a channel was read.
    """
    unread = []
    if (stored := _stored_bits(image, content)) > bits:
        unread.append(f"{stored} bits a channel")
    if any(image.info.get(key) for key in _XMP_KEYS) or _XMP_TAG in getattr(image, "tag_v2", {}):
        unread.append("XMP metadata")
    if any(image.info.get(key) for key in _HEIF_EXTRAS):
        unread.append("depth or gain maps")
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1 and image.format in _ALBUMS:
        unread.append("a further picture" if pictures == 2 else f"{pictures - 1} further pictures")
    return unread


def _stored_bits(image: Image.Image, content: bytes) -> int:
    """Return the bits of a channel as the file stores it; 8 where Pillow reads them all."""
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8))
    if image.format == "AVIF":
        with av.open(io.BytesIO(content)) as container:
            formats = [stream.format for stream in container.streams.video if stream.format is not None]
            return max((component.bits for each in formats for component in each.components), default=8)
    if image.format == "TIFF":
        return max(getattr(image, "tag_v2", {}).get(_BITS, (8,)))
    return 8


def _decode_deep(image: Image.Image, content: bytes) -> Levels | None:
    """Return a PNG or TIFF of 16 bits or a HEIC of more than 8 in 16 bits, RGB(A) or grey; None for anything else."""
    bits = _stored_bits(image, content)
    if image.format == "HEIF" and bits > 8:
        shifted = np.asarray(pillow_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=False))
        return np.rint((shifted >> (16 - bits)) * (65535 / (2**bits - 1))).astype(np.uint16)
    if not (image.format == "PNG" and content[24] == 16) and not (image.format == "TIFF" and bits == 16):
        return None
    levels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if levels is None or levels.dtype != np.uint16:
        return None
    if levels.ndim == 2:
        return np.asarray(levels, np.uint16)
    order = [2, 1, 0, 3][: levels.shape[2]]
    return np.ascontiguousarray(levels[..., order])


def _turn(levels: Levels, orientation: int) -> Levels:
    """Turn an array by its EXIF orientation, 1..8."""
    if orientation in (5, 6, 7, 8):
        levels = levels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        levels = levels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        levels = levels[::-1]
    return np.ascontiguousarray(levels)


def _usable_profile(image: Image.Image) -> bytes | None:
    """Return the ICC profile of an RGB picture where it is not sRGB and can be converted both ways."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA"):
        return None
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        ImageCms.buildTransform(ImageCms.createProfile("sRGB"), own, "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    return bytes(profile)


def write_still(path: Path, still: Still, *, mark: Mark | None, quality: int = 95) -> list[str]:
    """Write a picture with all that it carries; it appears whole or not at all.

    Args:
        path: Its suffix names the format, see `images.write_image`.
        still: The picture.
        mark: Its provenance, see `images.write_image`.
        quality: 1..100, of the lossy formats.

    Returns:
        What the format cannot hold, in a few words each.

    Raises:
        UserError: As `images.write_image`.
    """
    suffix = path.suffix.lower()
    lost: list[str] = []
    alpha = still.alpha
    if alpha is not None and suffix in _NO_ALPHA:
        lost.append("transparency")
        alpha = None
    pixels: Levels = still.pixels
    if still.grey:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), pixels.dtype)
    if still.deep and suffix in _DEEP:
        if suffix != ".png" and any(tag in _load_exif(still) for tag in _EXIF_FOLDERS):
            lost.append("EXIF of exposure and place beside 16 bits a channel")
        stacked = pixels if alpha is None else np.dstack([pixels, alpha])
        _write_deep(path, stacked, still, mark)
        return lost
    if still.deep:
        lost.append("16 bits a channel")
        pixels = np.rint(pixels / 257).astype(np.uint8)
        alpha = None if alpha is None else np.rint(alpha / 257).astype(np.uint8)
    if still.alpha is not None and alpha is None:
        share = (still.alpha.astype(np.float32) / np.iinfo(still.alpha.dtype).max)[..., None]
        mixed = pixels * (share if pixels.ndim == 3 else share[..., 0])
        mixed += NEUTRAL_GREY * (1 - (share if pixels.ndim == 3 else share[..., 0]))
        pixels = np.rint(mixed).astype(np.uint8)
    stacked = pixels if alpha is None else np.dstack([pixels, alpha])
    carried = {"icc_profile": still.profile, "exif": still.exif, "dpi": still.dpi}
    write_image(path, stacked, mark=mark, quality=quality, carried={key: v for key, v in carried.items() if v})
    return lost


def _write_deep(path: Path, levels: Levels, still: Still, mark: Mark | None) -> None:
    """Write 16 bits a channel, which Pillow cannot."""
    suffix = path.suffix.lower()
    with atomic_write(path) as temporary:
        try:
            if suffix == ".png":
                temporary.write_bytes(_encode_png(levels, still, mark))
            else:
                _write_tiff(temporary, levels, still, mark)
        except OSError as error:
            raise MediaError(f"{path}: cannot be written ({error.strerror}); choose another output") from error
        if mark is not None:
            sign_file(temporary, mark)


def _encode_png(levels: Levels, still: Still, mark: Mark | None) -> bytes:
    stored = levels
    if levels.ndim == 3:
        # OpenCV writes no grey with alpha.
        order = [0, 0, 0, 1] if levels.shape[2] == 2 else [2, 1, 0, 3][: levels.shape[2]]
        stored = levels[..., order]
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(stored), [cv2.IMWRITE_PNG_COMPRESSION, 4])
    if not done:
        raise OSError(0, "cannot be encoded")
    content = encoded.tobytes()
    chunks = b""
    if still.profile:
        chunks += _png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(still.profile))
    if still.dpi:
        across, down = (round(each / 0.0254) for each in still.dpi)
        chunks += _png_chunk(b"pHYs", struct.pack(">IIB", across, down, 1))
    if mark is not None:
        chunks += _png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + mark.xmp())
    if still.exif:
        chunks += _png_chunk(b"eXIf", still.exif.removeprefix(b"Exif\0\0"))
    head = len(_PNG_SIGNATURE) + 25  # IHDR is the first chunk, 25 bytes of fixed length
    return content[:head] + chunks + content[head:]


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _load_exif(still: Still) -> Image.Exif:
    exif = Image.Exif()
    if still.exif:
        exif.load(still.exif)
    return exif


def _write_tiff(path: Path, levels: Levels, still: Still, mark: Mark | None) -> None:
    colours = 1 if levels.ndim == 2 or levels.shape[2] == 2 else 3
    tags: list[tuple[int, str, int, str | bytes, bool]] = [
        (tag, "s", 0, value, True)
        for tag, value in _load_exif(still).items()
        if tag in _WORDS and isinstance(value, str) and value.isascii()
    ]
    if mark is not None and (packet := mark.xmp()):
        tags.append((_XMP_TAG, "B", len(packet), packet, True))
    has_alpha = levels.ndim == 3 and levels.shape[2] > colours
    tifffile.imwrite(
        path,
        levels,
        photometric="rgb" if colours == 3 else "minisblack",
        planarconfig="contig" if levels.ndim == 3 else None,
        extrasamples=["unassalpha"] if has_alpha else None,
        compression="zlib",
        iccprofile=still.profile,
        extratags=tags,
        metadata=None,
        resolution=still.dpi,
        resolutionunit="INCH" if still.dpi else None,
    )
