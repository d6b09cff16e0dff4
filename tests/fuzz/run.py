"""Look for inputs that a parser of foreign bytes does not take: coverage-guided, by atheris.

    python tests/fuzz/run.py TARGET [--runs N] [--keep]

An input that fails is shown. `--keep` adds to the corpus the smallest of those that reached code which no
kept input reaches.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1]
CORPUS = TESTS / "fuzz" / "corpus"
LONGEST = 4096
HANG_S = 60
MEMORY_MB = 2048
KEPT = 25
OURS = ["oblix.formats", "oblixd.http", "oblixd.models", "oblixd.config", "oblixd.sessions", "oblixd.fields"]


def main() -> int:
    """Run one target in this process, which ends with the fuzzer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        return _fuzz(given.target, given.inside, given.runs)
    with tempfile.TemporaryDirectory(prefix="oblix-fuzz-") as directory:
        return _supervise(given, Path(directory))


def _supervise(given: argparse.Namespace, directory: Path) -> int:
    """libFuzzer ends its process by itself, so it gets one of its own."""
    found = directory / "found"
    found.mkdir()
    command = [sys.executable, __file__, given.target, "--inside", str(found), "--runs", str(given.runs)]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if "INFO: " not in line]
    told = [line for line in errors if line.startswith("Done ")]
    print(f"{given.target}: {told[-1] if told else 'did not come to its end'}")
    crashes = [path for path in directory.glob("*-*") if path.is_file()]
    for path in crashes:
        print(f"{path.name}: {path.read_bytes()!r}")
    if done.returncode or crashes:
        print(done.stdout[-3000:], *errors[-20:], sep="\n")
        return 1
    if given.keep:
        for path in sorted(found.iterdir(), key=lambda one: one.stat().st_size)[:KEPT]:
            shutil.copy(path, CORPUS / given.target / path.name[:10])
    return 0


def _fuzz(target: str, found: str, runs: int) -> int:
    import atheris  # noqa: PLC0415 - no test needs it

    sys.path.insert(0, str(TESTS))
    with atheris.instrument_imports(include=OURS):
        from support import fuzz_targets  # noqa: PLC0415 - is to be watched from its import on

    limits = [f"-max_len={LONGEST}", f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MB}", f"-runs={runs}"]
    atheris.Setup([sys.argv[0], *limits, found, str(CORPUS / target)], fuzz_targets.TARGETS[target])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
