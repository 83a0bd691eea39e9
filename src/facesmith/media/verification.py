"""Read the provenance of a picture or video, and check whether it can be trusted."""

import json
import mimetypes
import mmap
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import av
import c2pa
from PIL import Image, UnidentifiedImageError

from facesmith.errors import MediaError
from facesmith.media.provenance import ASSERTION, IPTC_NAMESPACE, METADATA_KEY, XMP_NAMESPACE, Mark
from facesmith.media.signing_key import SELF_MADE, self_signed_roots

State = Literal["signed", "changed", "metadata", "unmarked"]
Trust = Literal["trusted", "own", "self_made", "unknown"]

_VIDEO_TYPES: Final = {"mp4": "video/mp4", "avi": "video/avi"}
_SYNTHETIC: Final = frozenset(["compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicMedia"])
# type and UUID of the box every manifest store begins with
_MANIFEST_BOX: Final = b"jumdc2pa"
_EXPIRED: Final = frozenset(["signingCredential.expired", "claimSignature.outsideValidity"])


@dataclass(frozen=True)
class ProvenanceReport:
    """The provenance that a file states.

    Attributes:
        path: The file.
        state: signed (manifest intact), changed (since it was signed), metadata (a mark without signature), unmarked.
        mark: facesmith's mark; None for a file of another program.
        source_type: IPTC digital source type, its last part.
        signer: Of the certificate.
        issuer: Of the certificate.
        trust: A root the user trusts (trusted), one made on this computer (own), one made by some facesmith
            (self_made), none of these (unknown).
        problems: C2PA's codes and words.
        signable: Whether the container holds manifests.
        generator: The software that claims to have written it.
    """

    path: Path
    state: State
    mark: Mark | None
    source_type: str | None
    signer: str | None
    issuer: str | None
    trust: Trust
    problems: tuple[str, ...]
    signable: bool
    generator: str | None

    @property
    def synthetic(self) -> bool:
        """Whether the file is marked as synthetic, wholly or in part."""
        return self.source_type in _SYNTHETIC


def verify_provenance(path: Path, anchors: str = "") -> ProvenanceReport:
    """Read a file's manifest and metadata, offline.

    Args:
        path: A picture or video.
        anchors: PEM of the roots the user trusts, "" for none.

    Raises:
        MediaError: there is no such file, or it is neither picture nor video.
    """
    media_type = _media_type(path)
    signable = media_type in c2pa.Reader.get_supported_mime_types()
    if signable:
        try:
            report, trust = _report(path, media_type, anchors)
        except c2pa.C2paError as error:
            if "ManifestNotFound" not in str(error):
                return _damaged(path, error)
        else:
            return _signed(path, report, trust)
    mark, source_type = _metadata(path)
    state: State = "metadata" if mark or source_type in _SYNTHETIC else "unmarked"
    return ProvenanceReport(path, state, mark, source_type, None, None, "unknown", (), signable, None)


def _report(path: Path, media_type: str, anchors: str) -> tuple[dict[str, Any], Trust]:
    roots = self_signed_roots()
    chances: list[tuple[str, Trust]] = [(anchors, "trusted")] if anchors else []
    chances += [(roots, "own")] if roots or not anchors else []
    for pem, trust in chances:
        verify = {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False}
        settings = {"verify": verify, **({"trust": {"trust_anchors": pem}} if pem else {})}
        with (
            c2pa.Context.from_dict(settings) as context,
            path.open("rb") as file,
            c2pa.Reader(media_type, file, context=context) as reader,
        ):
            report = json.loads(reader.json())
        if report["validation_state"] == "Trusted":
            return report, trust
    signature = report["manifests"][report["active_manifest"]].get("signature_info") or {}
    return report, "self_made" if signature.get("issuer") == SELF_MADE else "unknown"


def _signed(path: Path, report: dict[str, Any], trust: Trust) -> ProvenanceReport:
    manifest = report["manifests"][report["active_manifest"]]
    assertions = {one["label"]: one["data"] for one in manifest.get("assertions", [])}
    failures = [
        status
        for status in (report.get("validation_results") or {}).get("activeManifest", {}).get("failure", [])
        if status["code"] != "signingCredential.untrusted"
    ]
    changed = any(status["code"] not in _EXPIRED for status in failures)
    problems = tuple(f"{one['code']}: {one.get('explanation', '')}".rstrip(": ") for one in failures)
    signature = manifest.get("signature_info") or {}
    generator = " ".join(
        f"{one.get('name', '')} {one.get('version', '')}".strip() for one in manifest.get("claim_generator_info", [])
    )
    return ProvenanceReport(
        path=path,
        state="changed" if changed else "signed",
        mark=_mark(assertions.get(ASSERTION)),
        source_type=_source_type(assertions),
        signer=signature.get("common_name"),
        issuer=signature.get("issuer"),
        trust=trust,
        problems=problems,
        signable=True,
        generator=generator or None,
    )


def _damaged(path: Path, error: Exception) -> ProvenanceReport:
    mark, source_type = _metadata(path)
    words = " ".join(str(error).split())
    return ProvenanceReport(
        path, "changed", mark, source_type, None, None, "unknown", (f"damaged manifest: {words}",), True, None
    )


def _source_type(assertions: dict[str, Any]) -> str | None:
    for label, data in assertions.items():
        if label.startswith("c2pa.actions"):
            for action in data.get("actions", []):
                if "digitalSourceType" in action:
                    return str(action["digitalSourceType"]).rpartition("/")[2]
    return None


def _mark(said: Any) -> Mark | None:
    """Rebuild a mark; None for what is none, as the file may come from anywhere."""
    try:
        return Mark(**said)
    except TypeError:
        return None


def _metadata(path: Path) -> tuple[Mark | None, str | None]:
    """Return the mark and the digital source type that the metadata state."""
    try:
        with Image.open(path) as image:
            return _from_xmp(image.info.get("xmp", b""))
    except UnidentifiedImageError:
        pass
    except (OSError, SyntaxError, ValueError):
        return None, None
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            tags = {key.casefold(): value for key, value in container.metadata.items()}
    except (av.error.FFmpegError, OSError):
        return None, None
    mark = _from_json(tags.get(METADATA_KEY))
    return mark, None if mark is None else mark.source_type


def _from_xmp(packet: bytes | str) -> tuple[Mark | None, str | None]:
    try:
        root = ET.fromstring(packet.strip(b"\0 ") if isinstance(packet, bytes) else packet)
    except ET.ParseError:
        return None, None
    said = {name: value for element in root.iter() for name, value in element.attrib.items()}
    said |= {element.tag: element.text for element in root.iter() if element.text}
    mark = _from_json(said.get(f"{{{XMP_NAMESPACE}}}{METADATA_KEY}"))
    source_type = said.get(f"{{{IPTC_NAMESPACE}}}DigitalSourceType")
    return mark, source_type.rpartition("/")[2] if source_type else None


def _from_json(text: str | None) -> Mark | None:
    try:
        return _mark(json.loads(text or "null"))
    except ValueError:
        return None


def _media_type(path: Path) -> str:
    """Detect a file's type by its content: a wrong suffix must not hide a manifest."""
    try:
        with Image.open(path) as image:
            return image.get_format_mimetype() or "image/unknown"
    except UnidentifiedImageError:
        pass
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror or error}); check path and permissions") from None
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            names, has_picture = container.format.name, bool(container.streams.video)
    except (av.error.FFmpegError, OSError):
        return _broken(path)
    if names.endswith("_pipe") or names == "image2":  # FFmpeg believes the suffix of a picture, Pillow its content
        return _broken(path)
    if not has_picture:
        raise MediaError(f"{path}: has no picture; give an image or a video")
    known = (media_type for name, media_type in _VIDEO_TYPES.items() if name in names.split(","))
    return next(known, "video/unknown")


def _broken(path: Path) -> str:
    """Return the kind of a broken file by its name, if it has a manifest."""
    guess = mimetypes.guess_type(path)[0]
    if guess is None or not _holds_manifest(path):
        raise MediaError(f"{path}: is neither image nor video, or broken; give one that opens")
    return guess


def _holds_manifest(path: Path) -> bool:
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(_MANIFEST_BOX) >= 0
