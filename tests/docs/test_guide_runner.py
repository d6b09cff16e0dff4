"""The runner itself: what it takes for Python, and that a broken guide fails where it is broken."""

from __future__ import annotations

import textwrap
import traceback
from pathlib import Path

import pytest
from support.repository import guides


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str, name: str = "guide.md") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


def test_blocks_share_one_namespace_in_order(write) -> None:
    path = write("""
        ```python
        seen = [1]
        ```
        Prose, and what is not Python:
        ```bash
        rm -rf everything
        ```
        ~~~py
        seen.append(__name__)
        ~~~
    """)
    assert guides.run(path)["seen"] == [1, "__main__"]


def test_top_level_await_runs_in_one_loop_beside_blocks_that_run_their_own(write) -> None:
    path = write("""
        ```python
        import asyncio
        async def loop():
            return asyncio.get_running_loop()
        first = await loop()
        ```
        ```python
        other = asyncio.run(loop())
        ```
        ```python
        again = await loop()
        ```
    """)
    names = guides.run(path)
    assert names["first"] is names["again"]
    assert names["first"] is not names["other"]


def test_an_indented_block_is_taken_without_its_indentation(write) -> None:
    path = write("""
        1. First:
           ```python
           if True:
               value = 1
           ```
        - and a fragment from inside of a function:
        ```python
            value += 1
        ```
    """)
    assert guides.run(path)["value"] == 2


def test_a_fence_inside_a_longer_fence_is_text(write) -> None:
    path = write("""
        ````markdown
        ```python
        raise SystemExit
        ```
        ````
    """)
    assert list(guides.blocks(path)) == []


def test_a_prelude_provides_what_the_guide_assumes(write) -> None:
    path = write("""
        ```python
        answer = await ask(question)
        ```
    """)
    prelude = write(
        """
        ```python
        async def ask(text): return text.upper()
        question = await ask('why')
        ```
        """,
        "prelude.md",
    )
    assert guides.run(path, prelude)["answer"] == "WHY"


def test_a_failure_names_the_line_of_the_guide(write) -> None:
    path = write("""\
        # Title

        ```python
        fine = 1
        assert fine == 2
        ```
    """)
    with pytest.raises(AssertionError) as failure:
        guides.run(path)
    last = traceback.extract_tb(failure.value.__traceback__)[-1]
    assert (last.filename, last.lineno) == (str(path), 5)


def test_source_that_is_not_python_fails(write) -> None:
    with pytest.raises(SyntaxError):
        guides.run(write("```python\nthis is not\n```"))
