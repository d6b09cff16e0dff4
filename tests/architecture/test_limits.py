"""A limit or a default that the client has, too, is the daemon's."""

from __future__ import annotations

import ast
import re
from dataclasses import asdict
from types import SimpleNamespace
from typing import get_args

from oblix import ModelType, limits
from oblix._convert.presets import PRESETS
from oblix.agents.thresholds import DEFAULTS, ConnectivityAgent, ResourceMonitor
from oblix.v1 import models_pb2
from support.repository import files

from oblixd.config.schema import ModelTable
from oblixd.execution import validation as of_executions
from oblixd.fields import hints_of
from oblixd.models.hook_spec import PROVIDERS
from oblixd.models.providers.catalog import providers
from oblixd.routing import ConnectivityThresholds, ResourceThresholds
from oblixd.sessions import validation as of_sessions
from oblixd.sessions.search import request as of_searches
from oblixd.sessions.storage import retention_rules


def test_the_clients_limits_are_the_daemons() -> None:
    daemon = {
        "MAX_TOKENS": of_executions.MAX_TOKENS,
        "MAX_TIMEOUT_S": of_executions.MAX_TIMEOUT_S,
        "MAX_TEMPERATURE": of_executions.MAX_TEMPERATURE,
        "MAX_MESSAGE_BYTES": of_sessions.MAX_MESSAGE_BYTES,
        "MAX_PARTS": of_sessions.MAX_PARTS,
        "MAX_ID_CHARACTERS": of_sessions.MAX_ID_CHARACTERS,
        "MAX_TITLE_CHARACTERS": of_sessions.MAX_TITLE_CHARACTERS,
        "MAX_DAYS": retention_rules.MAX_DAYS,
        "LARGEST_PAGE": of_sessions.MAX_PAGE_SIZE,
        "LARGEST_SEARCH_PAGE": of_searches.MAX_HITS,
        "MAX_LEVELS": of_sessions.MAX_LEVELS,
        "MAX_KEYS": of_sessions.MAX_KEYS,
        "MAX_JSON_BYTES": of_sessions.MAX_JSON_BYTES,
        "MAX_INTEGER": of_sessions.MAX_INTEGER,
    }
    ours = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert ours == daemon


def test_a_bad_value_has_one_builder() -> None:
    """`errors.invalid_argument` and its shorthands say field, limit and what was given in one form."""
    elsewhere = [
        f"{path.relative_to(files.ROOT)}:{node.lineno}"
        for path in files.sources("oblixd")
        if path.name != "errors.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "InvalidArgumentError"
    ]
    assert elsewhere == [], "call errors.invalid_argument, invalid_field or out_of_range"


def test_the_clients_thresholds_are_the_daemons() -> None:
    agent = ConnectivityAgent()
    shown = {name: getattr(agent, name) for name in asdict(ConnectivityThresholds())}
    assert asdict(ResourceThresholds()) == DEFAULTS
    assert asdict(ConnectivityThresholds()) == shown


def test_the_docstring_of_the_resource_monitor_names_the_default_of_each_threshold() -> None:
    text = ResourceMonitor.__init__.__doc__ or ""
    said = {name: float(value) for name, value in re.findall(r"`(\w+)`\s+([\d.]*\d)", text)}
    assert said == asdict(ResourceThresholds())


def test_the_contract_names_the_default_of_each_threshold() -> None:
    proto = (files.ROOT / "protos/oblix/v1/routing.proto").read_text()
    said = re.findall(r"Default ([\d.]+)\.\n  optional double (\w+) =", proto)
    daemon = asdict(ResourceThresholds()) | asdict(ConnectivityThresholds())
    assert {name: float(value) for value, name in said} == daemon


def test_each_place_that_lists_the_providers_lists_all() -> None:
    kind = hints_of(ModelTable)["provider"]
    contract = {
        name.removeprefix("PROVIDER_").lower() for name in models_pb2.Provider.DESCRIPTOR.values_by_name
    }
    assert {one.value for one in ModelType} == set(PROVIDERS)
    assert set(get_args(kind)) == set(PROVIDERS)
    assert contract - {"unspecified"} == set(PROVIDERS)
    assert set(providers(SimpleNamespace(connect=None))) == set(PROVIDERS)
    # Those with servers of their own: where the command and a client find the address and the key.
    presets = {one.provider.value for one in PRESETS.values()}
    assert presets == set(PROVIDERS) - {"embedded"}
