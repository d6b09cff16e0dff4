"""`oblix usage` and `client.usage`: what was asked is in the books of a real daemon, and caps hold."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from oblix import InvalidArgumentError, OblixClient
from oblix.cli.commands.service import usage
from oblix.v1 import daemon_pb2
from support.drivers.daemon import run_daemon
from support.drivers.terminal import terminal

COMMAND = (sys.executable, "-m", "oblix", "usage")
NOTHING = {
    "executions": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "cost": 0.0,
    "unpriced_executions": 0,
}


@pytest.fixture(scope="module")
def daemon_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a daemon with prices, and with a cap that the second answer finds reached."""
    home = tmp_path_factory.mktemp("usage")
    prices = "ollama:llama2=1000000/2000000,openai:*=1/1"
    with run_daemon(
        home,
        OBLIX_EMBEDDED_ENABLED="false",
        OBLIX_USAGE_PRICES=prices,
        OBLIX_USAGE_MONTHLY_CAP="1",
        OBLIX_USAGE_CURRENCY="EUR",
        TZ="UTC",
    ):
        yield home


def _today() -> date:
    return datetime.now(UTC).date()


def test_an_answer_is_priced_shown_and_capped(ask, oblix) -> None:
    first = _today()
    ask("What is up?")
    report = OblixClient().usage()
    row = report.rows[0]
    assert (row["key"], row["executions"]) == ("ollama:llama2", 1)
    assert row["cost"] == row["input_tokens"] + 2 * row["output_tokens"] > 1
    assert report.total | {"key": "ollama:llama2"} == row
    budget = {"period": "month", "limit": 1.0, "spent": row["cost"], "action": "refuse"}
    assert (report.currency, report.budgets) == ("EUR", [budget])
    refused = ask("And now?", ok=False)
    assert refused.returncode == 1
    assert "1.00 EUR are spent this month" in refused.stderr

    shown = oblix("usage", "--by", "day", "--since", first.isoformat()).stdout.splitlines()
    assert sum(int(line.split("\t")[1]) for line in shown) == 1
    told = json.loads(oblix("usage", "--json", "--by", "session").stdout)
    assert told["budgets"] == [budget]
    session_id = told["rows"][0]["key"]
    OblixClient().delete_session(session_id)
    assert oblix("usage", "--session", session_id, "--by", "session").stdout.startswith(session_id)
    with terminal(*COMMAND) as screen:
        text = screen.rest()
    assert "COST (EUR)" in text
    assert "in all 1 answer for" in text
    assert "then prompts are refused" in text


def test_the_sum_says_what_it_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    total = daemon_pb2.UsageRow(executions=3, unpriced_executions=2)
    usage._show_sums(daemon_pb2.GetUsageResponse(total=total, currency="USD"))
    assert capsys.readouterr().out == "\nin all 3 answers for 0.0000 USD, and 2 without a known price\n"


def test_no_usage_is_an_empty_report(oblix) -> None:
    report = OblixClient().usage("client", "2020-01-01", date(2020, 12, 31), model="openai:x")
    assert (report.rows, report.total) == ([], NOTHING)
    done = oblix("usage", "--until", "2020-01-01", "--model", "openai:x")
    told = "oblix: nothing was used that fits --model openai:x --until 2020-01-01.\n"
    assert (done.stdout, done.stderr) == ("", told)
    assert json.loads(oblix("usage", "--json", "--session", "nobody").stdout)["rows"] == []


@pytest.mark.parametrize(
    ("cost", "shown"),
    [(0.0, "0.0000"), (12.5, "12.5000"), (0.01, "0.0100"), (0.00004321, "0.000043"), (1e-9, "0.000000001")],
)
def test_a_cost_that_is_there_is_never_shown_as_none(cost: float, shown: str) -> None:
    assert usage.amount(cost) == shown


@pytest.mark.parametrize(
    "days", [["--since", "yesterday"], ["--since", "1999-01-01"], ["--until", "20260101"]]
)
def test_wrong_days_are_told_by_the_options(oblix, days: list[str]) -> None:
    done = oblix("usage", *days, ok=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert days[0] in done.stderr
    assert "_day" not in done.stderr


@pytest.mark.parametrize(
    "wrong",
    [{"by": "colour"}, {"first_day": "yesterday"}, {"last_day": "20260101"}, {"first_day": "1999-01-01"}],
)
def test_an_unknown_report_is_refused(oblix, wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidArgumentError):
        OblixClient().usage(**wrong)
