"""An import job: takes in what other programs exported, tells what became of it, and keeps a backup."""

import sys
from pathlib import Path

import oblix


def main(paths: list[Path], backup: Path) -> int:
    with oblix.Client() as client:
        report = client.sessions.import_from(paths)
        print(f"{report.imported} new, {report.grown} longer, {report.skipped} known already")
        for session in report.sessions:
            if session.outcome == "refused":
                print(f"{session.file} {session.place}: {session.detail}", file=sys.stderr)
        size = client.sessions.backup(backup)
        print(f"{size:,} bytes in {backup}")
    return 1 if report.refused else 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]], Path("oblix-backup.lmdb")))
