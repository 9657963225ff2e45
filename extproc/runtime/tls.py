"""TLS for the server: certificate, key, and the authority that clients must be signed by.

What lives here: reading these files and saying at start what is wrong with them. What must not: gRPC objects; the
transport makes its own from the bytes.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


class TlsError(Exception):
    """The TLS files cannot be used; ``str()`` says which and why, and never quotes a key."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM bytes. With ``client_ca`` every client must show a certificate that it signed."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None = None

    def __repr__(self) -> str:
        return f"Tls(client_ca={'required' if self.client_ca else 'none'})"


def load_tls(certificate: Path, key: Path, client_ca: Path | None = None) -> Tls:
    """Read and check the files.

    Raises:
        TlsError: a file cannot be read, is not PEM, or key and certificate do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # The empty password makes an encrypted key an error instead of a prompt.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise TlsError(f"certificate {certificate} with key {key}: {_reason(error)}") from None
    authority = None
    if client_ca is not None:
        try:
            authority = client_ca.read_bytes()
            context.load_verify_locations(cadata=authority.decode("ascii"))
        except (OSError, ValueError) as error:
            raise TlsError(f"client authority {client_ca}: {_reason(error)}") from None
    return Tls(certificate.read_bytes(), key.read_bytes(), authority)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").lower().replace("_", " ")
    return (error.strerror or "unreadable") if isinstance(error, OSError) else "not PEM"
