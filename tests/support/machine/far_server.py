"""The machine's model server, at the far end of a cable: `python -m support.machine.far_server HOST PORT`."""

from __future__ import annotations

import signal
import sys

from oblix.testing import OllamaServer
from support.machine import traffic

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # threads inherit that
    with OllamaServer(["llama2"], host=sys.argv[1], port=int(sys.argv[2])) as server:
        server.default = traffic.Answers(fault_share=0.25)
        print(server.url, flush=True)
        signal.sigwait({signal.SIGTERM})
