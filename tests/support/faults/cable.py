"""Plugs and pulls a cable in a network of its own, and prints what `LinkEvents` and `route_to` say of it.

python -m support.netns python -m support.links
"""

from __future__ import annotations

import asyncio
import json
import subprocess

from oblixd.monitor.network.link_events import LinkEvents
from oblixd.monitor.network.routes import ANYWHERE, route_to

FAR, ELSEWHERE = "10.77.0.2", "10.78.0.2"
STEPS = {
    "a new cable": "ip link add near type veth peer name far",
    "an address": "ip addr add 10.77.0.1/24 dev near",
    "plugged in": "ip link set near up; ip link set far up",
    "a default route": f"ip route add default via {FAR}",
    "pulled": "ip link set far down",
    "plugged in again": "ip link set far up",
    "without a route": "ip route del default",
    "switched off": "ip link set near down",
}
WAIT_S = 60.0


async def main() -> None:
    """Take the steps. One that nobody hears of ends it with an error."""
    heard = asyncio.Event()
    links = LinkEvents(heard.set)
    links.start()
    ways = {"alone": _ways()}
    for step, commands in STEPS.items():
        heard.clear()
        await asyncio.to_thread(subprocess.run, commands, shell=True, check=True)
        async with asyncio.timeout(WAIT_S):
            await heard.wait()
        ways[step] = _ways()
    links.close()
    print(json.dumps(ways))


def _ways() -> list[str | None]:
    """The interface to the other end of the cable, beyond it, and to anywhere."""
    found = [route_to([FAR]), route_to([ELSEWHERE]), route_to(ANYWHERE)]
    return [way and way.interface for way in found]


if __name__ == "__main__":
    asyncio.run(main())
