"""What `import oblix` offers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import oblix
import pytest


def test_every_name_is_exported_sorted_and_known_to_type_checkers() -> None:
    assert oblix.__all__ == sorted(oblix.__all__)
    assert all(getattr(oblix, name) is not None for name in oblix.__all__)
    assert set(oblix.__all__) <= set(dir(oblix))
    checked = {line.strip(" ,") for line in Path(oblix.__file__).read_text().split("__all__")[0].splitlines()}
    imported = {name for line in checked for name in line.partition("import ")[2].split(", ")} | checked
    assert set(oblix.__all__) <= imported


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Oblox'"):
        _ = oblix.Oblox


def test_the_package_is_typed() -> None:
    assert Path(oblix.__file__).with_name("py.typed").exists()


@pytest.mark.parametrize(
    "statement",
    ["from oblix import ModelType, OblixError", "from oblix.agents import ResourceMonitor, BaseAgent"],
)
def test_modules_that_need_no_daemon_load_no_grpc(statement: str) -> None:
    script = f"import sys\n{statement}\nassert not {{'grpc', 'google', 'asyncio'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-I", "-c", script], check=True)
