"""An agent with tools: plain functions, which the model may call until it knows the answer."""

from datetime import date
from pathlib import Path

import oblix


def today() -> str:
    """Tell the date of today."""
    return date.today().isoformat()


def list_files(folder: str, suffix: str = "") -> list[str]:
    """List the files in a folder.

    Args:
        folder: The folder's path.
        suffix: Only files whose name ends so, for example .py.
    """
    return sorted(path.name for path in Path(folder).iterdir() if path.name.endswith(suffix))


def main(task: str) -> oblix.Answer:
    with oblix.Client() as client:
        return client.execute(task, tools=[today, list_files], run_tools=True, max_rounds=5)


if __name__ == "__main__":
    print(main("Which Python files are in the folder '.'?"))
