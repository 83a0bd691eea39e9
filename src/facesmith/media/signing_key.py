"""The signing key of marked files: the user's key and certificate, or a chain created on this computer."""

import datetime
import functools
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import filelock
import platformdirs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from facesmith.errors import UserError

log = logging.getLogger(__name__)

Algorithm = Literal["es256", "es384", "es512", "ps256", "ed25519"]

SELF_MADE: Final = "facesmith self-made, not verified by anyone"
"""Organisation in self-signed certificates, by which they are recognised in other people's files."""

_CERTIFICATE, _KEY, _ROOTS = "certificate.pem", "key.pem", "roots.pem"
_LIFETIME: Final = datetime.timedelta(days=3650)
# A chain about to run out is replaced while its signatures still hold.
_RENEWAL: Final = datetime.timedelta(days=30)
_CURVES: Final[dict[str, Algorithm]] = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class SigningKey:
    """Key and certificate chain for C2PA.

    Attributes:
        certificates: PEM, the signer's first.
        key: Private key, PEM.
        algorithm: C2PA's name of it.
    """

    certificates: bytes
    key: bytes
    algorithm: Algorithm


def load_signing_key(certificate: Path, key: Path) -> SigningKey:
    """Read the user's own certificate chain and unencrypted private key, both PEM.

    Args:
        certificate: The chain, the signer's certificate first.
        key: Its private key.

    Raises:
        UserError: one cannot be read, is of a kind that C2PA does not take, or they do not belong together.
    """
    chain_pem, key_pem = _read(certificate, "certificate"), _read(key, "key")
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
    except ValueError:
        raise UserError(f"provenance.certificate={certificate}: holds no PEM certificate; give a .pem chain") from None
    try:
        private = serialization.load_pem_private_key(key_pem, password=None)
    except TypeError:
        raise UserError(f"provenance.key={key}: is protected by a password; give an unprotected copy") from None
    except ValueError:
        raise UserError(f"provenance.key={key}: holds no PEM private key; give the certificate's own key") from None
    spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*spki) != chain[0].public_key().public_bytes(*spki):
        raise UserError(
            f"provenance.key={key}: does not belong to the first certificate in {certificate}; give its own key"
        )
    begins, ends = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
    if begins > _now():
        raise UserError(
            f"provenance.certificate={certificate}: is valid from {begins:%Y-%m-%d} on, and this computer's clock says "
            f"{_now():%Y-%m-%d}; set the clock, or give a valid one"
        )
    if ends < _now():
        raise UserError(f"provenance.certificate={certificate}: ran out on {ends:%Y-%m-%d}; give a valid one")
    if key.stat().st_mode & 0o077:
        log.warning("provenance.key=%s: others may read it; chmod 600 it", key)
    return SigningKey(chain_pem, key_pem, _algorithm(private, key))


@functools.cache
def load_self_signed() -> SigningKey:
    """Return the self-signed chain of this computer, creating it on first use, with a notice.

    It proves that a file was not changed, not who made it. It lies in the user's configuration folder, readable by its
    owner only; the root's key is thrown away, so that it can vouch for nothing else.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = key_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        with filelock.FileLock(folder / ".lock"):
            if not _is_fresh(folder / _CERTIFICATE):
                _make(folder)
                log.warning(
                    "outputs are signed with a new key, just created in %s: this shows changes, but not "
                    "who you are. Set provenance.certificate and provenance.key for a signature that others trust",
                    folder,
                )
            certificates, key = (folder / _CERTIFICATE).read_bytes(), (folder / _KEY).read_bytes()
    except OSError as error:
        raise UserError(
            f"{folder}: no signing key can be kept there ({error.strerror}); fix its permissions, or set "
            "provenance.certificate and provenance.key"
        ) from None
    return SigningKey(certificates, key, "es256")


def key_folder() -> Path:
    """Return the folder of the self-signed chain."""
    return platformdirs.user_config_path("facesmith") / "signing"


def self_signed_roots() -> str:
    """Return the roots of every chain made on this computer, PEM; "" when there is none."""
    roots = key_folder() / _ROOTS
    return roots.read_text(encoding="ascii") if roots.is_file() else ""


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"provenance.{what}={path}: cannot be read ({error.strerror}); give a PEM file") from None


def _algorithm(key: PrivateKeyTypes, path: Path) -> Algorithm:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise UserError(f"provenance.key={path}: C2PA takes P-256, P-384, P-521, RSA from 2048 bits, or Ed25519 keys")


def _is_fresh(certificate: Path) -> bool:
    """Return whether the chain and its key can sign now, and for some time: a wrong clock may have made them."""
    try:
        leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
        key = serialization.load_pem_private_key(certificate.with_name(_KEY).read_bytes(), password=None)
    except (FileNotFoundError, ValueError, TypeError):
        return False
    own = leaf.public_key() == key.public_key()
    return own and leaf.not_valid_before_utc <= _now() < leaf.not_valid_after_utc - _RENEWAL


def _make(folder: Path) -> None:
    pem = serialization.Encoding.PEM
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, name = _name("root"), _name("signer")
    authority = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    root = (
        _builder(root_name, root_name, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(authority, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _builder(name, root_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    root_pem = root.public_bytes(pem)
    older = self_signed_roots().encode()
    for file, data in (
        (_KEY, private),
        (_ROOTS, older + root_pem),
        (_CERTIFICATE, leaf.public_bytes(pem) + root_pem),  # last: with it the chain counts as made
    ):
        _write_private(folder / file, data)


def _write_private(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, 0o600)
        file.write(data)
        file.flush()
        os.fsync(handle)
    temporary.replace(path)


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - datetime.timedelta(days=1))
        .not_valid_after(_now() + _LIFETIME)
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        key_cert_sign=not sign,
        crl_sign=not sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(role: str) -> x509.Name:
    # Neither user nor computer is named: the files go to others.
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, SELF_MADE),
            x509.NameAttribute(NameOID.COMMON_NAME, f"facesmith self-made {role}"),
        ]
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
