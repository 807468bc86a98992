"""The certificate that the API shows, and the TLS it speaks: 1.2 and 1.3, forward-secret AEAD ciphers only.

At start a certificate or key that cannot be used ends the program with one line. Later both files are looked
at with every new connection (two stat calls, nothing while nobody comes): when they have changed they are
loaded, and connections from then on get the new certificate; those that are open keep theirs. Files
that cannot be used then are logged once, and the old certificate stays.
"""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path
from typing import Final

from appliance.errors import UsageError
from appliance.log import event

_log = logging.getLogger("sallyport.tls")

# TLS 1.3 has no others than AEADs with forward secrecy; these are their like in 1.2.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_PROTOCOLS: Final = ["h2", "http/1.1"]

_REASONS: Final = {
    "KEY_VALUES_MISMATCH": "the key is not the certificate's",
    "KEY_TYPE_MISMATCH": "the key is not the certificate's",
    "EE_KEY_TOO_SMALL": "the key is too small",
    "CA_MD_TOO_WEAK": "the signature is too weak",
}

_Seen = tuple[tuple[int, int, int], ...]


class Certificate:
    """A certificate chain and its key, in two PEM files."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises UsageError when the two cannot be used."""
        self._files = certificate, key
        # Looked at before it is read: what changes meanwhile is loaded again.
        self._seen = self._look()
        self._context = _load(certificate, key)

    def context(self) -> ssl.SSLContext:
        """For the next connection."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            try:
                self._context = _load(*self._files)
            except UsageError as problem:
                event(_log, logging.WARNING, "the old TLS certificate stays", problem=str(problem))
            else:
                event(_log, logging.INFO, "TLS certificate loaded", file=self._files[0])
        return self._context

    def _look(self) -> _Seen:
        seen = []
        for path in self._files:
            try:
                its = os.stat(path)
                seen.append((its.st_ino, its.st_mtime_ns, its.st_size))
            except OSError:
                seen.append((0, 0, 0))
        return tuple(seen)


def _load(certificate: Path, key: Path) -> ssl.SSLContext:
    for name, path in (("tls_certificate", certificate), ("tls_key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise UsageError(f"{name} {path}: cannot be read: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(_PROTOCOLS)
    encrypted = []

    def password() -> str:
        """Asked instead of the terminal."""
        encrypted.append(True)
        return ""

    try:
        context.load_cert_chain(certificate, key, password=password)
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = _REASONS.get(getattr(error, "reason", None) or "", "no PEM certificate and key that fit")
        if encrypted:
            reason = "the key is encrypted; it must not be"
        raise UsageError(f"tls_certificate {certificate} and tls_key {key}: {reason}") from None
    return context


def certificate(chain: Path | None, key: Path | None) -> Certificate | None:
    """The certificate to serve with; None for plain HTTP. Raises UsageError when it cannot be used."""
    return Certificate(chain, key) if chain is not None and key is not None else None
