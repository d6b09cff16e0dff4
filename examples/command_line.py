"""A command: `command_line.py ask "..."` goes on with today's conversation, `find WORD` searches all."""

import argparse
from datetime import date

import oblix


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["ask", "find"])
    parser.add_argument("text")
    arguments = parser.parse_args(words)
    with oblix.Client() as client:
        if arguments.action == "find":
            for hit in client.sessions.search(arguments.text, limit=20):
                print(f"{hit.timestamp:%Y-%m-%d} {hit.title}: {hit.snippet}")
            return
        session = client.sessions.get_or_create(f"diary-{date.today()}", title=f"Diary of {date.today()}")
        print(client.execute(arguments.text, session=session))


if __name__ == "__main__":
    main()
