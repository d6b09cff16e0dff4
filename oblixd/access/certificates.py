"""The certificate and the key that a TLS listener shows, checked before anybody connects.

A server with a key of P-521 or Ed25519 starts, and no Python client of gRPC can reach it: BoringSSL
offers neither in its handshake. Such a key is refused here, with what to do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from oblixd.access.listeners import ListenAddress
from oblixd.errors import FailedPreconditionError

_EC = bytes.fromhex("2a8648ce3d0201")
"""id-ecPublicKey, RFC 5480."""
_RSA = bytes.fromhex("2a864886f70d010101")
"""rsaEncryption, RFC 8017."""
_CURVES = {bytes.fromhex("2a8648ce3d030107"): "P-256", bytes.fromhex("2b81040022"): "P-384"}
"""The curves that gRPC's clients offer."""
_OTHERS = {
    bytes.fromhex("2b81040023"): "P-521",
    bytes.fromhex("2b8104000a"): "secp256k1",
    bytes.fromhex("2b6570"): "Ed25519",
    bytes.fromhex("2b6571"): "Ed448",
}
_MARK = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"
_SEQUENCE, _OID, _VERSION = 0x30, 0x06, 0xA0
_LONG_FORM = 0x80


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What a TLS listener shows."""

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    """Who signs the certificates of clients. None: clients need none."""
    expires: datetime
    """When the certificate is no longer valid. In UTC."""


def load_certificate(address: ListenAddress) -> ServerCertificate:
    """Read and check what a listener shows.

    Raises FailedPreconditionError TLS_FILE_UNUSABLE for a file that can't be read, that others can read
    where it holds the key, or whose parts do not belong together, and TLS_KEY_UNSUPPORTED for a key that
    gRPC's clients can't use.
    """
    chain = _read(address.certificate)
    key_file = address.key or address.certificate
    key = _read(key_file, is_private=True)
    first = _first_certificate(chain, address.certificate)
    _check_kind(_key_kind(first), address.certificate)
    _check_pair(address.certificate, key_file)
    client_ca = _read(address.client_ca) if address.client_ca else None
    if client_ca is not None:
        _check_authorities(client_ca, address.client_ca)
    expires = _expiry(address.certificate)
    if expires < datetime.now(UTC):
        raise _unusable(address.certificate, f"it expired on {expires:%Y-%m-%d}: renew it")
    return ServerCertificate(chain, key, client_ca, expires)


def _read(path: str, *, is_private: bool = False) -> bytes:
    try:
        with Path(path).open("rb") as file:
            if is_private and os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise _unusable(path, f"others can read the private key in it: run `chmod 600 {path}`")
            return file.read(1 << 20)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from None


def _first_certificate(chain: bytes, path: str) -> bytes:
    import ssl  # noqa: PLC0415 - only a TLS listener pays for it

    text = chain.decode("ascii", "replace")
    body, found, _ = text.partition(_MARK)[2].partition(_END)
    try:
        if found:
            return ssl.PEM_cert_to_DER_cert(f"{_MARK}{body}{_END}")
    except ValueError:
        pass
    raise _unusable(path, "it holds no certificate in PEM form")


def _check_kind(kind: str, path: str) -> None:
    if kind in {"RSA", *_CURVES.values()}:
        return
    message = (
        f"The certificate in {path} has a key of the kind {kind}, which gRPC's clients can't use: "
        "they would fail "
        "in the handshake. Make one of P-256, P-384 or RSA: `openssl ecparam -name prime256v1 -genkey`."
    )
    raise FailedPreconditionError("TLS_KEY_UNSUPPORTED", message, path=path, kind=kind)


def _check_pair(certificate: str, key: str) -> None:
    import ssl  # noqa: PLC0415 - only a TLS listener pays for it

    def refuse_password() -> str:
        raise _unusable(
            key, "its private key is encrypted: `openssl pkey -in FILE -out FILE2` takes that off"
        )

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, refuse_password)
    except (ssl.SSLError, OSError) as error:
        why = "certificate and key do not belong together" if "MISMATCH" in str(error) else str(error)
        raise _unusable(key, why) from None


def _check_authorities(authorities: bytes, path: str) -> None:
    import ssl  # noqa: PLC0415 - only a TLS listener pays for it

    try:
        text = authorities.decode("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise _unusable(path, f"it holds no certificates ({error})") from None


def _expiry(path: str) -> datetime:
    import ssl  # noqa: PLC0415 - only a TLS listener pays for it

    # The only reader of a certificate's dates that the standard library has. It takes a file.
    found = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), UTC)


def _key_kind(certificate: bytes) -> str:
    """Name the kind of a certificate's key, out of its SubjectPublicKeyInfo (RFC 5280, section 4.1)."""
    _, whole = next(_elements(certificate))
    _, signed = next(_elements(whole))
    parts = [element for element in _elements(signed) if element[0] != _VERSION]
    # Without the version: serial number, signature, issuer, validity, subject, and the key.
    _, key = parts[5]
    _, algorithm = next(_elements(key))
    oids = [content for tag, content in _elements(algorithm) if tag == _OID]
    if oids[0] == _RSA:
        return "RSA"
    curve = oids[1] if oids[0] == _EC and len(oids) > 1 else oids[0]
    return _CURVES.get(curve) or _OTHERS.get(curve, f"OID {curve.hex()}")


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut DER into its elements: tag and content."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & _LONG_FORM:
            size = length & ~_LONG_FORM
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        yield tag, data[at : at + length]
        at += length


def _unusable(path: str, why: str) -> FailedPreconditionError:
    return FailedPreconditionError("TLS_FILE_UNUSABLE", f"{path} can't be used for TLS: {why}.", path=path)
