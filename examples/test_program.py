"""Tests of a program that uses Oblix: a private daemon and a scripted model, in one line."""

import oblix
import pytest
from oblix.testing import Answer, Cut
from oblix.testing.pytest_plugin import PrivateDaemon


def shout(question: str) -> str:
    """Return the answer in capitals: the program under test."""
    with oblix.Client() as client:
        return client.execute(question).text.upper()


def test_an_answer_is_used(oblix_daemon: PrivateDaemon) -> None:
    oblix_daemon.script("Forty-two.")
    assert shout("What is the answer?") == "FORTY-TWO."
    assert oblix_daemon.prompts[0].body["messages"][-1]["content"] == "What is the answer?"


def test_a_model_that_breaks_off_is_told(oblix_daemon: PrivateDaemon) -> None:
    oblix_daemon.script(*[Answer("one two three", fault=Cut(after=2))] * 5)
    with pytest.raises(oblix.UnavailableError) as caught:
        shout("Count")
    assert caught.value.reason == oblix.Reason.MODEL_STREAM_BROKEN
