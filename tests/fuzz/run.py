"""Look for inputs that a parser of foreign bytes does not take: coverage-guided, by atheris.

    python tests/fuzz/run.py TARGET [--runs N] [--keep]

An input that fails is written beside the corpus as crash-... and shown. `--keep` adds to the corpus what
reached code that no kept input reaches, in its smallest form.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1]
CORPUS = TESTS / "fuzz" / "corpus"
LONGEST = 4096
HANG_S = 60
MEMORY_MB = 2048
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
    told = [line for line in done.stderr.splitlines() if line.startswith("Done ") or "exec/s" in line]
    print(f"{given.target}: {told[-1] if told else done.stderr[-2000:]}")
    crashes = [path for path in directory.glob("*-*") if path.is_file()]
    for path in crashes:
        print(f"{path.name}: {path.read_bytes()!r}")
    if done.returncode or crashes:
        print(done.stdout[-3000:], done.stderr[-3000:], sep="\n")
        return 1
    if given.keep:
        merged = [sys.executable, __file__, given.target, "--inside", f"{CORPUS / given.target},{found}"]
        subprocess.run([*merged, "--runs", "0"], cwd=directory, check=True, capture_output=True)
    return 0


def _fuzz(target: str, directories: str, runs: int) -> int:
    import atheris  # noqa: PLC0415 - no test needs it

    sys.path.insert(0, str(TESTS))
    with atheris.instrument_imports(include=OURS):
        from support import fuzz_targets  # noqa: PLC0415 - is to be watched from its import on

    where = directories.split(",")
    flags = ["-merge=1"] if len(where) > 1 else [f"-runs={runs}", "-print_final_stats=1"]
    corpus = where if len(where) > 1 else [*where, str(CORPUS / target)]
    limits = [f"-max_len={LONGEST}", f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MB}"]
    atheris.Setup([sys.argv[0], *flags, *limits, *corpus], fuzz_targets.TARGETS[target])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
