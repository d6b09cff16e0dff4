"""Directories and compressed files."""

from __future__ import annotations

import gzip
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from oblix import InvalidArgumentError, NotFoundError
from oblix.formats import opening
from support.data.conversation_strategies import lines
from support.data.import_files import problem, read

MIB = 1024 * 1024
CHAT = {"messages": [{"role": "user", "content": "Hi"}]}


def zip_file(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)
    return path


def test_a_zip_file_gives_its_conversations_only(tmp_path: Path) -> None:
    chat = lines(CHAT)
    path = zip_file(tmp_path / "a.zip", conversations_json=chat, user_json=b"{}", chat_html=b"<p>")
    assert len(read(path)) == 1
    assert len(read(zip_file(tmp_path / "b.zip", one_jsonl=chat, two_json=chat, three_txt=chat))) == 2
    assert "there are no conversations in it" in problem(zip_file(tmp_path / "c.zip", a_txt=b""))


@pytest.mark.parametrize("kind", ["gzip", "zip"])
def test_an_archive_that_expands_without_bound_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bomb"
    data = b'["' + b"x" * (40 * MIB)
    if kind == "zip":
        zip_file(path, conversations_json=data)
    else:
        path.write_bytes(gzip.compress(data, 6))
    tracemalloc.start()
    try:
        assert "expands to more than 200 times its size" in problem(path)
        assert tracemalloc.get_traced_memory()[1] < 110 * MIB
    finally:
        tracemalloc.stop()


def test_a_zip_file_whose_contents_are_damaged_is_refused(tmp_path: Path) -> None:
    path = zip_file(tmp_path / "a.zip", conversations_json=lines(*([CHAT | {"title": "abc" * 50}] * 100)))
    data = bytearray(path.read_bytes())
    data[60:70] = b"\xff" * 10
    path.write_bytes(data)
    assert "damaged" in problem(path)


def test_a_zip_file_with_a_huge_table_is_refused(tmp_path: Path, monkeypatch) -> None:
    path = zip_file(tmp_path / "a.zip", **{f"{n}_json": b"{}" for n in range(200)})
    monkeypatch.setattr(opening, "MAX_DIRECTORY_BYTES", 4000)
    assert "far too many files" in problem(path)
    monkeypatch.setattr(opening, "MAX_DIRECTORY_BYTES", 2**20)
    monkeypatch.setattr(opening, "MAX_ARCHIVED", 100)
    assert "more than 100 files" in problem(path)


def test_a_directory_stands_for_its_files(tmp_path: Path) -> None:
    for name in ("b.json", "a.jsonl", "c.txt", "conversations-001.json", "conversations-000.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "inside.json").mkdir()
    found = [path.name for path in opening.files_in(tmp_path)]
    assert found == ["conversations-000.json", "conversations-001.json"]
    for path in opening.files_in(tmp_path):
        path.unlink()
    assert [path.name for path in opening.files_in(tmp_path)] == ["a.jsonl", "b.json"]


def test_a_path_with_nothing_to_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"it has no file that ends in .json, .jsonl, .ndjson"):
        opening.files_in(tmp_path)
    with pytest.raises(InvalidArgumentError, match="Not a directory"):
        opening.files_in(Path("/dev/null"))
    with pytest.raises(NotFoundError, match="no file or directory"):
        opening.files_in(tmp_path / "missing")
