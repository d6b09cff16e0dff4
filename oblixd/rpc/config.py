"""GetConfig and ReloadConfig."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from oblix.v1 import daemon_pb2

from oblixd.config import view
from oblixd.config.loader import Loaded, Source

_SOURCE = {
    Source.DEFAULT: daemon_pb2.CONFIG_SOURCE_DEFAULT,
    Source.FILE: daemon_pb2.CONFIG_SOURCE_FILE,
    Source.ENVIRONMENT: daemon_pb2.CONFIG_SOURCE_ENVIRONMENT,
}


class ReloadResult(Protocol):
    """What became of reading the configuration again."""

    @property
    def applied_keys(self) -> Sequence[str]: ...
    @property
    def waiting_keys(self) -> Sequence[str]: ...
    @property
    def notices(self) -> Sequence[str]: ...


class Reloads(Protocol):
    """Knows the configuration that counts, and reads it again."""

    loaded_config: Loaded

    def reload(self) -> ReloadResult:
        """Raise ConfigError, and nothing has changed."""


class ConfigCalls:
    """Translates the configuration for the wire."""

    def __init__(self, reloads: Reloads) -> None:
        self._reloads = reloads

    def read(self, file: str) -> daemon_pb2.GetConfigResponse:
        """Give every setting as it counts now."""
        loaded = self._reloads.loaded_config
        settings = [_setting(row) for row in view.rows(loaded)]
        return daemon_pb2.GetConfigResponse(file=file, settings=settings, notices=loaded.notices)

    def reload(self) -> daemon_pb2.ReloadConfigResponse:
        """Read the configuration again. Raises OblixdError, and nothing has changed."""
        done = self._reloads.reload()
        return daemon_pb2.ReloadConfigResponse(
            applied=done.applied_keys, needs_restart=done.waiting_keys, notices=done.notices
        )


def _setting(row: view.Row) -> daemon_pb2.ConfigSetting:
    return daemon_pb2.ConfigSetting(
        key=row.key,
        value_json=json.dumps(row.value, ensure_ascii=False),
        default_json=json.dumps(row.default, ensure_ascii=False),
        source=_SOURCE[row.source],
        meaning=row.meaning,
        expected=row.accepted_values,
        variable=row.variable,
        live=row.is_live,
    )
