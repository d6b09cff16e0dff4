"""A script: asks a question and writes the answer as it arrives."""

import sys

import oblix


def main(question: str) -> int:
    try:
        with oblix.Client() as client:
            for text in client.stream_text(question, policy="prefer-local", timeout=60):
                print(text, end="", flush=True)
            print()
    except oblix.OblixError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:]) or "Why is the sky blue?"))
