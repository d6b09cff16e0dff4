"""The text of files: as it is, or out of PDF files."""

from __future__ import annotations

import io
import logging

PDF = b"%PDF-"


def text_of(data: bytes) -> str:
    """Return a file's text. Raises ValueError with why there is none, as the end of a sentence."""
    if data.startswith(PDF):
        return _pdf_text(data)
    if b"\0" in data:
        raise ValueError("it is no text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is neither text in UTF-8 nor a PDF file") from None


def _pdf_text(data: bytes) -> str:
    """Return the text of a PDF file, its pages marked."""
    # It takes a tenth of a second to load.
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    # It warns of what it mends while reading.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        pages = [page.extract_text() for page in PdfReader(io.BytesIO(data)).pages]
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it can't be read as a PDF file ({error})") from None
    if not any(page.strip() for page in pages):
        raise ValueError("it has no text: its pages may be scanned; give them as images")
    return "\n\n".join(f"[page {number}]\n{page.strip()}" for number, page in enumerate(pages, 1))
