"""Certificates of a test's own, made by openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def make(folder: Path, *names: str) -> Path:
    """A file with a new key and its certificate for these names (`DNS:localhost`, `IP:127.0.0.1`).

    The certificate signs itself: who is to trust it is given the same file.
    """
    file = folder / f"{names[0].replace(':', '-')}.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={','.join(names)}"]
    subprocess.run([*words, "-keyout", file, "-out", f"{file}.crt"], check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


def server_side(file: Path) -> ssl.SSLContext:
    """What a server needs to show it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
