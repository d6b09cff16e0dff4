"""The documented client: what programs of the first Oblix, and the session guide, need."""

from __future__ import annotations

import asyncio
from os import PathLike
from typing import Any, Self

from oblix._facade.executions import ExecutionCalls
from oblix._facade.messages import MessageCalls
from oblix._facade.prompts import ChatCalls
from oblix._facade.sessions import HousekeepingCalls
from oblix._facade.transfer import TransferCalls
from oblix._launcher.address import address_of
from oblix._resources.core import Core
from oblix._resources.hooked_models import configuration_of, type_of
from oblix._transport.channel import Transport
from oblix.agents import BaseAgent
from oblix.models import ModelType
from oblix.v1 import models_pb2


class OblixClient(MessageCalls, ChatCalls, ExecutionCalls, TransferCalls, HousekeepingCalls):
    """A client of the daemon with the calls of the session guide and of the first Oblix.

    New programs use `oblix.AsyncClient` or `oblix.Client`; all three share one core,
    and return the same.

    The daemon `oblixd` keeps the connections to models and the conversations; the first
    call starts it if it does not run. A client can be used from any number of threads
    and event loops, and after a fork. Calls that are not `async` work inside a running
    event loop, and block it meanwhile.

    Every call can raise OblixError: InvalidArgumentError for wrong arguments,
    UnavailableError if there is no daemon (DaemonStartError says why), and the errors
    that its own description names.

    `async with OblixClient() as client:` and `with OblixClient() as client:` call
    `shutdown` at the end.
    """

    def __init__(
        self,
        oblix_api_key: str | None = None,
        host: str | None = None,
        port: int | None = None,
        config_path: str | None = None,
    ) -> None:
        """Make a client. Nothing is connected yet.

        Without `host` and `port`, or with the documented localhost and 4321, it
        is this user's daemon, or that of OBLIX_ADDRESS. Another address is TCP, with
        TLS beyond this machine; `oblix_api_key` is then the token, else OBLIX_TOKEN
        is (docs/how-to/listen-on-tcp.md). `config_path` is accepted for older programs
        and not used: the daemon has a configuration of its own.
        """
        super().__init__(Core(Transport(address_of(host, port, oblix_api_key))))

    async def hook_model(
        self,
        model_type: ModelType | str,
        model_name: str,
        endpoint: str | None = None,
        api_key: str | None = None,
        *,
        api_key_file: str | PathLike[str] | None = None,
        **kwargs: Any,
    ) -> bool:
        """Add a model to those that this client's prompts may go to, and return True.

        A model that can't be reached now is also hooked; prompts then say so. If this
        client hooked the model before, the new key and endpoint replace the old ones.
        `endpoint`: an http or https URL; by default OPENAI_BASE_URL, ANTHROPIC_BASE_URL
        or OLLAMA_HOST, or the provider's own address. The key is the first of
        `api_key`, the content of `api_key_file` (which only its owner can read),
        OPENAI_API_KEY or ANTHROPIC_API_KEY, and the system's keyring, if the package
        `keyring` is installed; it stays in memory, in the program and in the daemon.
        `location`: `local` or `cloud`, by default derived from the endpoint
        (ModelType.CUSTOM needs it for other machines). Further options are those of a
        `[[models]]` table (docs/reference/models.md): `num_ctx`, `keep_alive`,
        `context_window`, `max_running`, `headers`, `proxy`, `ca_file` ... Raises
        InvalidArgumentError, and FailedPreconditionError for a key file that others can
        read and for a locked keyring.
        """
        await self._async.models.hook(
            model_type,
            model_name,
            endpoint=endpoint,
            api_key=api_key,
            api_key_file=api_key_file,
            **kwargs,
        )
        return True

    def hook_agent(self, agent: BaseAgent) -> bool:
        """Add an agent, and return True. It replaces one of the same name. Raises InvalidArgumentError."""
        self._agents.add(agent)
        return True

    def list_models(self) -> dict[str, list[str]]:
        """Return the models that this client's prompts may go to, by provider: `{"ollama": ["llama2"]}`.

        They are those that it hooked, or those of the daemon's configuration if it
        hooked none.
        """
        names: dict[str, list[str]] = {}
        for model_id in dict.fromkeys(model.id for model in self._models()):
            provider, _, name = model_id.partition(":")
            names.setdefault(provider, []).append(name)
        return names

    def get_model(self, model_type: ModelType | str, model_name: str) -> dict[str, Any] | None:
        """Return the configuration of one of `list_models`, without the key, or None."""
        model_id = f"{type_of(model_type)}:{model_name}"
        return next((configuration_of(model) for model in self._models() if model.id == model_id), None)

    async def get_resource_metrics(self) -> dict[str, Any]:
        """Return the latest measurement of this machine's load. Unknown values are None.

        `cpu_percent`, `memory_percent` and `own_cpu_percent` (of the local models): 0
        to 100; `load_average` over one minute; `gpu`: whether one is `available`, its
        `name`, `utilization` and `memory_utilization`, 0 to 1; `state` under the
        default policy, `since` when, and `sampled_at`. docs/reference/measurements.md
        describes the other values, which have the names of ResourceSample.
        """
        return (await self._async.machine.snapshot()).resources

    async def get_connectivity_metrics(self) -> dict[str, Any]:
        """Return the latest measurement of the network to cloud models. Unknown values are None.

        `latency` and `jitter` in milliseconds, `packet_loss` in percent, `bandwidth` in
        megabits a second, `connection_type` (of the default route); `state` under the
        default policy, `since` when, `sampled_at`; and the same for each model server
        in `endpoints`, with its `age` in seconds and the `reason` why it can't be
        reached.
        """
        return (await self._async.machine.snapshot()).connectivity

    async def shutdown(self) -> None:
        """Unhook the models of this client, and close it. The daemon continues. Can be called twice.

        Prompts that continue without the client keep their models until they end.
        """
        await self._async.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Shut down as `shutdown` does, also inside a running event loop."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - few programs get here

        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, self.shutdown()).result()

    def _models(self) -> list[models_pb2.Model]:
        if hooked := self._core.hooked.models():
            return hooked
        request = models_pb2.ListModelsRequest()
        return list(
            self._transport.call(lambda link: link.models.ListModels, request, repeatable=True).models
        )
