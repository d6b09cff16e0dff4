"""Libraries of documents: what is read, how passages are cut and found, and what stays local."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from oblix import InvalidArgumentError
from oblix.documents import Document, Library, libraries, register_connector
from oblix.documents.passages import LONGEST, cut


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OBLIX_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    (folder / "deep" / ".git").mkdir(parents=True)
    (folder / "heat.md").write_text("# Heating\n\nThe heat pumps run at 35 degrees.\n\nIn winter at 45.\n")
    (folder / "deep" / "solar.txt").write_text("The cells on the roof give five kilowatts.\n")
    (folder / "deep" / ".git" / "config").write_text("heat pump")
    (folder / "noise.bin").write_bytes(b"\x00\xff")
    return folder


class Letters:
    """Vectors that count letters: what has the same letters means the same."""

    name = "letters"

    def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        return [
            [float(text.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts
        ]


def test_documents_are_read_found_and_cited(notes: Path) -> None:
    library = Library.open("notes")
    report = library.add(str(notes))
    assert (report.added, [Path(name).name for name, _ in report.left_out]) == (2, ["noise.bin"])
    (first, *_) = library.search("How warm does the pump run?")
    assert first.place == f"{notes}/heat.md:1-5"
    assert "35 degrees" in first.text
    assert library.search("xylophone") == []
    assert library.search('"; DROP TABLE -- *') == []
    assert libraries() == ["notes"]


def test_an_update_reads_what_changed_and_forgets_what_is_gone(notes: Path) -> None:
    library = Library.open("notes")
    library.add(str(notes))
    (notes / "heat.md").write_text("Now it is gas, not the old thing.\n")
    (notes / "deep" / "solar.txt").unlink()
    report = library.update()
    assert (report.added, report.unchanged, report.removed) == (1, 0, 1)
    assert library.search("degrees") == []
    assert library.search("kilowatts") == []
    assert [Path(one.document).name for one in library.search("gas")] == ["heat.md"]
    again = library.update()
    assert (again.added, again.unchanged) == (0, 1)


def test_passages_cover_every_line_and_fit(tmp_path: Path) -> None:
    lines = [f"line {number} " + "word " * (number % 30) for number in range(500)]
    lines[10:12] = ["", "x" * 20_000]
    pieces = list(cut("\n".join(lines)))
    covered = {number for piece in pieces for number in range(piece.first_line, piece.last_line + 1)}
    assert covered >= {number for number, line in enumerate(lines, 1) if line.strip()}
    assert all(len(piece.text) <= 5 * LONGEST for piece in pieces)
    assert list(cut("")) == []


def test_meaning_finds_what_words_do_not(notes: Path) -> None:
    library, letters = Library.open("notes"), Letters()
    library.add(str(notes))
    assert library.search("roofs cell kilowatt gives", embedder=letters)
    assert library.embed(letters) == library.passage_count
    assert library.embed(letters) == 0
    (first, *_) = library.search("ehtllcs feor oontekiw sttlac", embedder=letters)
    assert first.document.endswith("solar.txt")


def test_local_only_is_never_taken_back(notes: Path) -> None:
    library = Library.open("secret")
    assert not library.is_local_only
    library.keep_local()
    library.close()
    assert Library.open("secret").is_local_only


def test_another_connector_gives_other_documents(tmp_path: Path) -> None:
    def wiki(source: str) -> Iterator[Document]:
        yield Document(source, "1", lambda: b"The pump runs.")

    register_connector("wiki", wiki)
    library = Library.open("handbook")
    library.add("wiki:Heating")
    assert library.search("pump")[0].place == "wiki:Heating:1-1"
    assert library.update().unchanged == 1


def test_a_malformed_library_is_refused(tmp_path: Path) -> None:
    for name in ("../etc", "", ".hidden", "a" * 65):
        with pytest.raises(InvalidArgumentError, match="name"):
            Library.open(name)
    with pytest.raises(FileNotFoundError):
        Library.open("nobody", create=False)
    with pytest.raises(FileNotFoundError):
        Library.open("notes").add(str(tmp_path / "nowhere"))


def test_two_processes_index_at_once(notes: Path) -> None:
    script = f"from oblix.documents import Library; Library.open('notes').add({str(notes)!r})"
    running = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    assert len(Library.open("notes").documents) == 2
