"""Certificates for tests: self-signed, of this minute, each with a name to know it by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


def make(name: str, password: bytes | None = None) -> tuple[bytes, bytes]:
    """(certificate, key) in PEM for localhost, by the common name `name`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return (
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption),
    )


def write(directory: Path, certificate: bytes, key: bytes) -> tuple[Path, Path]:
    """Put both into files, in place of what was there, as renewing programs do: by renaming."""
    paths = directory / "cert.pem", directory / "key.pem"
    for path, content in zip(paths, (certificate, key), strict=True):
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.rename(path)
    return paths


def name_of(der: bytes) -> str:
    """By which name `make` knew this certificate."""
    (attribute,) = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attribute.value)
