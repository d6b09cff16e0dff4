"""The network is cut, narrowed, slowed and made lossy for real; prompts go local, and come back.

How long that took is printed; docs/explanation/network.md has a table of it.
No time decides: a busy machine is slow.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from support.faults import netlab
from support.faults.netlab import FAR, LATE, Lab
from support.servers.two_hosts import CLOUD, LOCAL, Site, Turned, cloud, is_limited, local

SELDOM_S = 0.5
"""Between two prompts, where many of them would fill the line by themselves."""
LONG = 200
"""Words of an answer that takes seconds."""
pytestmark = [
    pytest.mark.skipif(bool(netlab.missing_parts()), reason=netlab.missing_parts()),
]


class Report:
    """The rows of the table."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def add(self, what: str, turned: Turned, back: Turned) -> None:
        self.rows.append(
            f"| {what} | {turned.after_s:.2f} s | {turned.longest_s:.2f} s | {back.after_s:.2f} s |"
        )


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Lab() as lab, Site(lab) as made:
        yield made


@pytest.fixture(scope="module")
def report() -> Iterator[Report]:
    made = Report()
    yield made
    print("\n\n| what happened | local after | longest prompt | back after |\n| --- | --- | --- | --- |")
    print("\n".join(made.rows), *made.sentences, sep="\n")


@pytest.fixture(autouse=True)
def calm(site: Site) -> Iterator[None]:
    yield
    site.lab.calm()


def settle(site: Site, host: str, *, tls: bool = True) -> None:
    """Prompts go to the cloud, as they do where all is well."""
    site.hook(host, tls=tls)
    site.turns(cloud, time.monotonic())


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "plain"])
def test_the_cable_is_pulled(site: Site, report: Report, tls: bool) -> None:
    settle(site, FAR, tls=tls)
    began_s = time.monotonic()
    site.lab.pull()
    turned = site.turns(local, began_s)
    began_s = time.monotonic()
    site.lab.plug()
    back = site.turns(cloud, began_s)
    report.add(f"the cable is pulled ({'https' if tls else 'http'})", turned, back)


def test_the_default_route_goes(site: Site, report: Report) -> None:
    settle(site, FAR)
    began_s = time.monotonic()
    site.lab.unroute()
    turned = site.turns(local, began_s)
    began_s = time.monotonic()
    site.lab.route()
    report.add("the default route goes", turned, site.turns(cloud, began_s))


def test_the_cable_is_pulled_in_the_middle_of_an_answer(site: Site, report: Report) -> None:
    settle(site, FAR)
    asked = site.ask(LONG, meanwhile=site.lab.pull)
    assert (asked.first, asked.answered) == (CLOUD, LOCAL)
    assert asked.rerouted_s is not None
    report.say(
        f"An answer whose cable was pulled began anew on the local model after {asked.rerouted_s:.1f} s."
    )
    site.lab.plug()
    site.turns(cloud, time.monotonic())


def test_the_cable_is_pulled_for_a_moment_in_the_middle_of_an_answer(site: Site, report: Report) -> None:
    settle(site, FAR)
    undisturbed = site.ask(LONG)

    def wiggle() -> None:
        site.lab.pull()
        time.sleep(1.0)  # the time without a cable is what is tested
        site.lab.plug()

    asked = site.ask(LONG, meanwhile=wiggle)
    assert (asked.answered, asked.rerouted_s) == (CLOUD, None)
    report.say(
        f"An answer whose cable was pulled for a second went on: it took {asked.took_s:.1f} s, "
        f"undisturbed {undisturbed.took_s:.1f} s."
    )


def test_packets_come_late(site: Site, report: Report) -> None:
    settle(site, LATE)
    began_s = time.monotonic()
    site.lab.spoil(delay_ms=400)
    worse = site.turns(is_limited, began_s, SELDOM_S)
    assert site.network().latency > 400.0
    began_s = time.monotonic()
    site.lab.calm()
    back = site.turns(cloud, began_s, SELDOM_S)
    assert site.network().latency < 200.0
    report.add("packets come 400 ms late", worse, back)


def test_packets_get_lost(site: Site, report: Report) -> None:
    settle(site, LATE)
    began_s = time.monotonic()
    site.lab.spoil(lost_percent=20)
    worse = site.turns(is_limited, began_s, SELDOM_S)
    began_s = time.monotonic()
    site.lab.calm()
    report.add("20 % of the packets get lost", worse, site.turns(cloud, began_s, SELDOM_S))


def test_the_line_is_narrow(site: Site, report: Report) -> None:
    settle(site, FAR)
    began_s = time.monotonic()
    site.lab.throttle(20)
    worse = site.turns(is_limited, began_s, SELDOM_S)
    began_s = time.monotonic()
    site.lab.calm()
    report.add("20 kbit/s are left", worse, site.turns(cloud, began_s, SELDOM_S))
