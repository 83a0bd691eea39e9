"""The mark that every picture and video of a synthetic face carries: C2PA manifest and metadata."""

import functools
import io
import json
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal
from xml.sax.saxutils import quoteattr

import c2pa
from PIL import Image

import facesmith
from facesmith.errors import MediaError, UserError
from facesmith.media import signing_key
from facesmith.media.signing_key import SigningKey

ASSERTION: Final = "facesmith.mark"
METADATA_KEY: Final = "facesmith_mark"
XMP_NAMESPACE: Final = "urn:facesmith:mark#"
IPTC_NAMESPACE: Final = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
SOURCE_TYPES: Final = {
    "composite": "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia",
    "generated": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
}
"""IPTC digital source types: a real scene with a synthetic face in it, and a scene that is synthetic altogether."""

SIGNABLE: Final = frozenset(
    [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif", ".gif", ".mp4", ".mov", ".m4v", ".avi"]
)
"""Suffixes of the containers that hold a C2PA manifest; Matroska and WebM hold none."""

_SETTINGS: Final = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_after_sign": False},
    # By default twice the file's size is held in memory: half of it spools to a temporary file from here on,
    # and a tree of hashes over blocks needs one block, where one hash reads 256 MB at a time.
    "core": {"backing_store_memory_threshold_in_mb": 8, "merkle_tree_chunk_size_in_kb": 4096},
}

_chosen: SigningKey | None = None


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The provenance mark of a synthetic picture or video.

    Attributes:
        identity: Id of the profile, or ids joined by commas.
        consent: The kind that was stated.
        model_hash: sha256 of the model file, hex; None while there is no file, in training.
        title: What it is, in a few words.
        kind: A real scene with a synthetic face (composite), or a scene that is synthetic altogether (generated).
        adapter: The adapter of the model, "" for none.
    """

    identity: str
    consent: str
    model_hash: str | None
    title: str
    kind: Literal["composite", "generated"] = "composite"
    adapter: str = ""

    @property
    def source_type(self) -> str:
        """The last part of the IPTC digital source type."""
        return SOURCE_TYPES[self.kind].rpartition("/")[2]

    def metadata(self) -> dict[str, str]:
        """Return the mark as tags of a video container: a sentence for people, JSON for `facesmith.cli.provenance`."""
        return {"comment": self.sentence(), METADATA_KEY: self._json()}

    def xmp(self) -> bytes:
        """Return the mark as the XMP packet of an image, with the IPTC digital source type."""
        attributes = {
            "Iptc4xmpExt:DigitalSourceType": SOURCE_TYPES[self.kind],
            "xmp:CreatorTool": f"facesmith {facesmith.__version__}",
            "photoshop:Headline": self.sentence(),
            f"facesmith:{METADATA_KEY}": self._json(),
        }
        namespaces = {
            "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
            "Iptc4xmpExt": IPTC_NAMESPACE,
            "xmp": "http://ns.adobe.com/xap/1.0/",
            "photoshop": "http://ns.adobe.com/photoshop/1.0/",
            "facesmith": XMP_NAMESPACE,
        }
        declared = " ".join(f"xmlns:{prefix}={quoteattr(uri)}" for prefix, uri in namespaces.items())
        said = " ".join(f"{name}={quoteattr(value)}" for name, value in attributes.items())
        return (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
            f'<rdf:RDF {declared}><rdf:Description rdf:about="" {said}/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
        ).encode()

    def sentence(self) -> str:
        """Return the mark as one sentence."""
        return (
            f"synthetic media: {self.title}; made with facesmith {facesmith.__version__}, "
            f"identity {self.identity}, consent {self.consent}" + (f", adapter {self.adapter}" if self.adapter else "")
        )

    def manifest(self) -> dict[str, Any]:
        """Return the C2PA manifest definition."""
        made_by = {"name": "facesmith", "version": facesmith.__version__}
        action = {
            "action": "c2pa.created",
            "digitalSourceType": SOURCE_TYPES[self.kind],
            "softwareAgent": made_by,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "description": self.sentence(),
        }
        return {
            "claim_generator_info": [made_by],
            "title": self.title,
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
                {"label": ASSERTION, "data": asdict(self)},
            ],
        }

    def _json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def set_signing_key(certificate: Path | None, key: Path | None) -> None:
    """Choose what this process signs with.

    It is tried immediately on a small picture, so that a long job does not end with an invalid signature.

    Args:
        certificate: The user's certificate chain, PEM; None with `key` for the self-signed one.
        key: Its private key, PEM.

    Raises:
        UserError: only one of the two is given, or they cannot sign as C2PA demands; names the reason.
    """
    global _chosen
    check_signing.cache_clear()
    if certificate is None and key is None:
        _chosen = None
        return
    if certificate is None or key is None:
        missing = "certificate" if certificate is None else "key"
        raise UserError(f"provenance.{missing}: is missing; give both certificate and key, or neither")
    chosen = signing_key.load_signing_key(certificate, key)
    _try(chosen, certificate)
    _chosen = chosen


@functools.cache
def check_signing() -> None:
    """Try the signature before the work: results that cannot be signed are not written.

    Raises:
        UserError: nothing can be signed here; says why, and what to change.
    """
    if _chosen is None:  # the user's own key was tried when it was set
        _try(signing_key.load_self_signed(), None)


def sign_file(path: Path, mark: Mark) -> None:
    """Put a signed C2PA manifest into a finished file, in place; the last step before it takes its name.

    Nothing may be changed afterwards, and the caller syncs the file to disk. Memory does not grow with the file; of a
    large one a copy lies in the folder for temporary files meanwhile, and one beside it.

    Args:
        path: Its suffix names the container. One without manifest support (not in SIGNABLE) must carry the mark as
            metadata already.
        mark: Its provenance.

    Raises:
        MediaError: it cannot be signed, for want of disk space perhaps.
        ValueError: the container holds no manifest, and the file no metadata: a writer forgot it.
    """
    if path.suffix.lower() not in SIGNABLE:
        _require_metadata(path)
        return
    signed = path.with_name(f".{path.stem.lstrip('.')}.signed{path.suffix}")
    signed.unlink(missing_ok=True)
    try:
        with (
            _signer(_chosen or signing_key.load_self_signed()) as signer,
            c2pa.Context.from_dict(_SETTINGS) as context,
            c2pa.Builder(mark.manifest(), context) as builder,
        ):
            builder.sign_file(path, signed, signer)
        shutil.copymode(path, signed)
        signed.replace(path)
    except (c2pa.C2paError, OSError) as error:
        raise MediaError(
            f"{path}: cannot be signed ({_line(error)}); check disk space, clock and provenance.key"
        ) from error
    finally:
        signed.unlink(missing_ok=True)


def _signer(key: SigningKey) -> c2pa.Signer:
    info = c2pa.C2paSignerInfo(alg=key.algorithm.encode(), sign_cert=key.certificates, private_key=key.key, ta_url=None)
    return c2pa.Signer.from_info(info)


def _try(key: SigningKey, certificate: Path | None) -> None:
    """Sign a small picture.

    Args:
        key: To sign with.
        certificate: The user's file that it comes from; None for the one made on this computer.
    """
    picture, signed = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    mark = Mark(identity="nobody", consent="synthetic", model_hash=None, title="trial")
    named = f"provenance.certificate={certificate}" if certificate else str(signing_key.key_folder())
    mend = (
        "give a chain for digital signatures, the signer's certificate first"
        if certificate
        else "check this computer's clock, remove that folder, or set provenance.certificate and provenance.key"
    )
    try:
        with (
            _signer(key) as signer,
            c2pa.Context.from_dict(_SETTINGS) as context,
            c2pa.Builder(mark.manifest(), context) as builder,
        ):
            builder.sign(signer, "image/png", picture, signed)
        with c2pa.Reader("image/png", signed) as reader:
            report = json.loads(reader.json())
    except c2pa.C2paError as error:
        raise UserError(f"{named}: C2PA cannot sign with it ({_line(error)}); {mend}") from None
    if report["validation_state"] == "Invalid":
        codes = ", ".join(status["code"] for status in report["validation_status"])
        raise UserError(f"{named}: what it signs is not valid C2PA ({codes}); {mend}")


def _require_metadata(path: Path) -> None:
    import av  # who only hashes or reads marks needs no decoder

    with av.open(f"file:{path}", metadata_errors="replace") as container:
        keys = {key.casefold() for key in container.metadata}
    if METADATA_KEY not in keys:
        raise ValueError(f"{path}: '{path.suffix}' holds no manifest, and no metadata was written")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
