"""TLS before a server that speaks none, on all addresses. Prints its port, and serves until it is ended.

python -m support.front URL CERTIFICATE
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from support.proxies import certificates
from support.proxies.tcp_proxy import Door


async def main(url: str, certificate: str) -> None:
    """Serve."""
    listener = await asyncio.start_server(
        Door(url).pass_on, "0.0.0.0", 0, ssl=certificates.server_side(Path(certificate))
    )
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
