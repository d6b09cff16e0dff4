"""The embedded model's process: llama.cpp's own server on a Unix socket.

    python -m oblixd.models.embedded.worker --model FILE --socket PATH …

Writes `ready` to standard output once it serves. Lives as long as its standard
input: that closes when the daemon ends, however it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import xllamacpp

BATCH = 512
"""Tokens of a prompt between two looks at whether it was cancelled: the batch under way is finished."""
ERRORS = 1
"""llama.cpp's verbosity: more would be noise with every prompt, and could show it."""
SLEEP = 0
"""How much threads spin while they wait, in percent: on a busy machine it starves whom they wait for."""
OOM_SCORE = 900
"""Of 1000, in oom_score_adj: more than that of anything else in the daemon's cgroup."""
_PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until standard input closes."""
    options = _parser().parse_args(arguments)
    _die_with_parent()
    os.umask(0o077)
    _offer_to_be_killed()
    try:
        server = xllamacpp.Server(_parameters(options))
    except RuntimeError as error:
        sys.exit(f"E {error}")
    try:
        sys.stdout.write(f"ready {server.listening_address}\n")
        sys.stdout.flush()
        # Nobody reads standard output from here on.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        sys.stdin.buffer.read()
    finally:
        # Its threads may be in an answer that nobody waits for: winding them up could take for ever.
        os._exit(0)


def _parameters(options: argparse.Namespace) -> xllamacpp.CommonParams:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = options.model
    parameters.hostnames = [options.socket]
    parameters.n_ctx = options.context * options.slots
    parameters.n_parallel = options.slots
    parameters.cpuparams.n_threads = options.threads
    parameters.cpuparams_batch.n_threads = options.threads
    parameters.cpuparams.poll = parameters.cpuparams_batch.poll = SLEEP
    parameters.cache_ram_mib = options.cache_mib
    parameters.n_batch = BATCH
    parameters.verbosity = ERRORS
    if options.temperature is not None:
        parameters.sampling.temp = options.temperature
    if options.repeat_penalty is not None:
        parameters.sampling.penalty_repeat = options.repeat_penalty
    if options.pooling:
        # A text is computed in one piece, so the batch holds the longest one.
        parameters.embedding = True
        parameters.n_batch = parameters.n_ubatch = options.context
    if options.pooling == "mean":
        parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    parameters.offline = True
    parameters.ui = False
    return parameters


def _die_with_parent() -> None:
    # Loading holds the interpreter: a closed standard input is seen only before and after it.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([sys.stdin], [], [], 0)[0]:
        sys.exit("the daemon has ended")


def _offer_to_be_killed() -> None:
    """Have the kernel end this process first where memory runs out: the daemon starts it again."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(f"{OOM_SCORE}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oblixd-embedded", description="Serve a GGUF file on a Unix socket."
    )
    parser.add_argument("--model", required=True, help="the GGUF file")
    parser.add_argument("--socket", required=True, help="where to listen; must end in .sock")
    parser.add_argument("--context", type=int, required=True, help="tokens of context for each slot")
    parser.add_argument("--slots", type=int, required=True, help="answers at the same time")
    parser.add_argument("--threads", type=int, required=True, help="threads to compute with")
    parser.add_argument("--cache-mib", type=int, default=64, help="memory for prompts of other conversations")
    parser.add_argument("--temperature", type=float, help="for requests that do not say")
    parser.add_argument("--repeat-penalty", type=float, help="1 is none")
    parser.add_argument("--pooling", choices=["own", "mean"], help="make vectors of texts")
    return parser


if __name__ == "__main__":
    main()
