"""Every setting in one place: name, type, range, default and meaning.

`oblixd.config.loader` reads them. `python -m oblixd.config.reference` prints `docs/configuration.md`.
No secret is a setting: keys come with a client's hook, or from a file, the keyring or a credential
that a setting names. The one exception is a proxy's password, which is hidden wherever settings are shown.
"""

from __future__ import annotations

from typing import Annotated, Literal

from oblixd import client_memory
from oblixd.access import listeners
from oblixd.fields import Fields, number, text
from oblixd.models.embedded.weights import DEFAULT_NAME
from oblixd.models.options import AbsolutePath, KeepAlive, ModelOptions, Proxy
from oblixd.routing import policy_text
from oblixd.usage import prices as usage_prices

_MAX_DAYS = 36_500
_MAX_CAP = 1e9
_HOUR_S = 3600.0
_MONTH_S = 30 * 24 * _HOUR_S

Url = Annotated[
    str, text(r"https?://[^\s/?#@]+(/[^\s?#]*)?", "an http or https URL without user, query or fragment")
]
Endpoint = Annotated[
    str, text(r"https?://[^\s/?#@]+(/[^\s#]*)?(\?[^\s#]*)?", "an http or https URL without a user")
]
ModelName = Annotated[str, text(r"\S{1,256}", "names of 1 to 256 characters")]
CertificatePath = Annotated[str, text("(/.*)?", "an absolute path, or empty")]
NoProxy = Annotated[
    str, text(r"[^\s,/]{1,255}(/\d{1,3})?", "hosts, domains, IP addresses or networks such as 10.0.0.0/8")
]
KeyFile = Annotated[str, text("(/.*)?", "an absolute path, or empty")]
Gguf = Annotated[
    str,
    text(
        f"[^\\s=/]{{1,200}}=/.+|{DEFAULT_NAME}",
        f"NAME=/absolute/path.gguf; {DEFAULT_NAME} for the packaged one",
    ),
]
Origin = Annotated[str, text(r"https?://[^/\s]+", "an origin as a browser sends it: SCHEME://HOST[:PORT]")]
Threshold = Annotated[float, number(0, 1e9)]
Cost = Annotated[float, number(0, 1e9)]
Label = Annotated[str, text(r"[^=\s]{1,256}", "a key of 1 to 256 characters")]
PolicyName = Annotated[str, text(policy_text.NAME, "a policy's name")]


OldPrice = Annotated[str, text(usage_prices.PATTERN, usage_prices.FORM)]
OldPolicy = Annotated[str, text(policy_text.POLICY_PATTERN, policy_text.POLICY_FORM)]
OldRule = Annotated[str, text(policy_text.RULE_PATTERN, policy_text.RULE_FORM)]
Percent = Annotated[float, number(0, 100)]


Collector = Annotated[
    str, text(r"(https?://[^\s/?#@]+(/[^\s?#]*)?)?", "an http or https URL without user and query, or empty")
]


class PriceTable(Fields, frozen=True, kw_only=True):
    """What a million tokens of a model cost."""

    model: Annotated[
        str, text(r"[^\s:]+:\S{1,256}", "PROVIDER:NAME; a * at the end stands for the rest of the name")
    ]
    """The model, as in `openai:gpt-4o-mini`. A `*` at its end stands for the rest of the name."""
    input: Cost
    """Of the context that it reads."""
    output: Cost
    """Of the answer that it writes."""
    cache_read: Cost | None = None
    """Of the context's part that the server had in its cache. Without it that costs as the rest does."""
    cache_write: Cost | None = None
    """Of the context's part that the server put into its cache. Without it that costs as the rest does."""


class PolicyTable(Fields, frozen=True, kw_only=True):
    """A policy of your own: another one with other thresholds."""

    name: PolicyName
    """What sessions and prompts call it."""
    base: PolicyName
    """The policy that it begins with: one that is always there, or one that stands above."""
    max_cost: Cost | None = None
    """The most that a prompt may cost."""
    cpu_threshold: Percent | None = None
    """Percent of the processor from which the machine is constrained."""
    memory_threshold: Percent | None = None
    """Percent of the memory from which the machine is constrained."""
    load_threshold: Threshold | None = None
    """Load average over one minute from which the machine is constrained."""
    gpu_threshold: Percent | None = None
    """Percent of a graphics processor from which the machine is constrained."""
    critical_cpu: Percent | None = None
    """Percent of the processor from which the machine is critical."""
    critical_memory: Percent | None = None
    """Percent of the memory from which the machine is critical."""
    critical_gpu: Percent | None = None
    """Percent of a graphics processor from which the machine is critical."""
    latency_threshold: Threshold | None = None
    """Milliseconds above which the network is degraded."""
    packet_loss_threshold: Percent | None = None
    """Percent of lost packets above which the network is degraded."""
    bandwidth_threshold: Threshold | None = None
    """Megabits a second below which the network is degraded."""


class RuleTable(Fields, frozen=True, kw_only=True):
    """Sessions with this value in their metadata are routed by this policy."""

    key: Label
    """A key of the metadata, or a dotted path."""
    value: str | bool | float
    """The value that it must have. Numbers compare as numbers."""
    policy: PolicyName
    """The policy of such sessions."""


class ModelTable(ModelOptions, frozen=True, kw_only=True):
    """A model that serves where a program hooked none."""

    name: Annotated[str, text(r"\S{1,256}", "a name of 1 to 256 characters")]
    """The provider's name for the model; of an embedded one, the name that you give it."""
    provider: Literal["embedded", "ollama", "openai", "claude", "custom"]
    """Who serves it. `custom` is any other server that speaks OpenAI's chat completions."""
    endpoint: Endpoint = ""
    """Where its server is. Empty: the provider's own, as in `[ollama]`, `[openai]` and `[claude]`."""
    location: Literal["local", "cloud"] | None = None
    """Where it runs. Needed for `custom`, unless its server is on this machine."""
    key_file: KeyFile = ""
    """A file with the key, which only its owner may read."""
    key_keyring: Annotated[str, text(r"\S{0,256}", "a user name of the keyring's service oblix")] = ""
    """The entry of the system's keyring that holds the key: the user name under the service `oblix`."""
    key_credential: Annotated[str, text(r"[A-Za-z0-9._-]{0,255}", "a credential's name")] = ""
    """The credential of systemd that holds the key."""
    file: AbsolutePath | None = None
    """The GGUF file of an embedded model."""


class AliasTable(Fields, frozen=True, kw_only=True):
    """Another name for a model, for tools that ask for fixed ones."""

    name: Annotated[str, text(r"\S{1,128}", "a name of 1 to 128 characters")]
    """What the tool asks for, as in `gpt-4o`."""
    model: Annotated[str, text(r"\S{1,256}", "auto, a policy's name or PROVIDER:NAME")]
    """What it gets: `auto`, a policy, or a model as PROVIDER:NAME."""


class Daemon(Fields, frozen=True):
    """The process itself."""

    grace_s: Annotated[float, number(0, _HOUR_S)] = 10.0
    """Seconds that running answers may take to finish when the daemon is told to end."""
    idle_exit_s: Annotated[float, number(0, _MONTH_S)] = 0.0
    """Seconds without a call after which the daemon ends by itself. 0: never."""
    log_level: Annotated[str, text("debug|info|warning|error", "debug, info, warning or error")] = "info"
    """How much is logged. Prompts, answers and keys never are."""
    client_memory_mib: Annotated[int, number(48, 1 << 20)] = client_memory.DEFAULT_MIB
    """The most that is held in memory for all clients together, in MiB: prompts that wait or run, large
    requests, answers that ended lately, responses that were not read. One client may have half of it."""


class Store(Fields, frozen=True):
    """The database of the conversations."""

    map_size_gib: Annotated[int, number(1, 65536)] = 64
    """The most that it may grow to, in GiB. That is address space: the file is as large as what is in it.
    The last 64 MiB are kept back for deletions."""


class Sessions(Fields, frozen=True):
    """How long conversations are kept. A day has 24 hours."""

    deleted_days: Annotated[int, number(0, _MAX_DAYS)] = 30
    """Days for which a deleted session can be brought back. 0: not at all."""
    retention_days: Annotated[int, number(0, _MAX_DAYS)] = 0
    """Days after its last change when `retention_action` is done to a session. 0: never. A session's own
    retention goes before this one."""
    retention_action: Annotated[str, text("archive|delete", "archive or delete")] = "archive"
    """What is then done: `archive` puts it away, `delete` deletes it as a person would."""


class Usage(Fields, frozen=True):
    """What models cost, and how much may be spent. Nothing is guessed: what has no price here is counted as
    unpriced. Days and months are those of `time_zone`."""

    prices: tuple[PriceTable | OldPrice, ...] = ()
    """What models cost. A model on this machine costs nothing unless it has a price here."""
    currency: Annotated[str, text("[A-Z]{3}", "three capital letters, as in ISO 4217")] = "USD"
    """What the prices and caps are in."""
    time_zone: Annotated[str, text("[A-Za-z0-9_+/-]{0,64}", "a name such as Europe/Paris, or empty")] = ""
    """Whose days and months count. Empty: the system's time zone."""
    daily_cap: Annotated[float, number(0, _MAX_CAP)] = 0.0
    """What may be spent in a day. 0: no cap."""
    monthly_cap: Annotated[float, number(0, _MAX_CAP)] = 0.0
    """What may be spent in a month. 0: no cap."""
    cap_action: Annotated[str, text("refuse|local", "refuse or local")] = "refuse"
    """What becomes of a prompt for a model that costs something once a cap is reached: `refuse` refuses it,
    `local` sends it to one that costs nothing."""


class Execution(Fields, frozen=True):
    """How prompts are answered."""

    queue_length: Annotated[int, number(0, 100_000)] = 512
    """Prompts that may wait for a place at one model. Who comes then is refused, or goes to the next one."""


class Routing(Fields, frozen=True):
    """Which model a prompt goes to. What the policies do is on the page about [routing](routing.md)."""

    policy: PolicyName = "balanced"
    """The policy of prompts for which nobody names one."""
    cloud: Literal["yes", "no"] = "yes"
    """Whether prompts may go to cloud models. `no` makes each prompt of every program local-only."""
    policies: tuple[PolicyTable | OldPolicy, ...] = ()
    """Policies of your own: each is one that there is already, with other thresholds."""
    rules: tuple[RuleTable | OldRule, ...] = ()
    """Policies for sessions by their metadata. The first that fits counts; a local-only policy always."""


class Embedded(Fields, frozen=True):
    """Models that need no server: GGUF files, each served by a process of the daemon's own."""

    enabled: bool = True
    """Whether they serve where no model was hooked."""
    models: tuple[Gguf, ...] = ()
    """The files, by the names that their models get. Empty: the packaged one alone."""
    threads: Annotated[int, number(0, 1024)] = 0
    """Threads that compute. 0: half of the cores, so that others are not starved."""
    context: Annotated[int, number(512, 1048576)] = 8192
    """Context window of one answer, in tokens, at most the model's own."""
    parallel: Annotated[int, number(1, 64)] = 1
    """Answers that one model writes at once. Each takes memory for a context of its own."""
    max_tokens: Annotated[int, number(1, 1048576)] = 1024
    """The longest answer in tokens, where a request names no limit: a small model may find no end."""
    idle_unload_s: Annotated[float, number(0, _MONTH_S)] = 600.0
    """Seconds without a prompt after which a model leaves the memory. 0: never."""
    max_memory_gib: Annotated[float, number(0, 65536)] = 0.0
    """What all loaded models together may take, in GiB: an idle one makes room for one that is asked. 0: half
    of what the machine has, or its container."""


class Ollama(Fields, frozen=True):
    """An Ollama server."""

    endpoint: Url = "http://localhost:11434"
    """Where it listens. A client's hook may name another one."""
    models: tuple[ModelName, ...] = ()
    """Models, by Ollama's names, that serve where none was hooked, after the embedded ones."""
    num_ctx: Annotated[int, number(512, 1048576)] = 8192
    """Context window that a model is loaded with, in tokens, at most its own. A hook may name another one. It
    goes before the server's own `OLLAMA_CONTEXT_LENGTH`, so that the window is always known."""
    keep_alive: KeepAlive = "5m"
    """How long a model stays loaded after an answer. A hook may name another time. It goes before the
    server's own `OLLAMA_KEEP_ALIVE`."""
    parallel: Annotated[int, number(1, 1000)] = 1
    """Prompts that one model is given at once; the others wait here, in their order. As many as the server's
    `OLLAMA_NUM_PARALLEL`, which is 1 unless it was changed."""


class OpenAI(Fields, frozen=True):
    """OpenAI's models that serve where none was hooked."""

    endpoint: Url = "https://api.openai.com/v1"
    """Where they are. Another endpoint that speaks OpenAI's chat completions may stand here."""
    models: tuple[ModelName, ...] = ()
    """Models, by OpenAI's names, that serve where none was hooked, after those on this machine."""
    key_file: KeyFile = ""
    """A file with the key, which only its owner may read. Empty: systemd's credential `openai-api-key`, where
    there is one."""


class Claude(Fields, frozen=True):
    """Anthropic's models that serve where none was hooked."""

    endpoint: Url = "https://api.anthropic.com"
    """Where they are."""
    models: tuple[ModelName, ...] = ()
    """Models, by Anthropic's names, that serve where none was hooked, after OpenAI's."""
    key_file: KeyFile = ""
    """A file with the key, which only its owner may read. Empty: systemd's credential `claude-api-key`, where
    there is one."""


class Network(Fields, frozen=True):
    """How servers outside this machine are reached. The environment of the program that starts the daemon
    decides nothing: `HTTPS_PROXY` and `SSL_CERT_FILE` are not used. `oblix config import-environment` writes
    them here. A server on this machine and a model that runs locally are never reached through a proxy."""

    proxy: Proxy = "none"
    """The proxy for all cloud models. A password in it is never shown; keep the file to yourself."""
    no_proxy: tuple[NoProxy, ...] = ()
    """Hosts that are reached without the proxy: a name covers what ends in it, too."""
    ca_file: CertificatePath = ""
    """A PEM file with certificates that are trusted beside the system's, such as those of a company."""
    ca_dir: CertificatePath = ""
    """A directory with such files."""


class Monitor(Fields, frozen=True):
    """The sampling of the machine and of its network."""

    interval_s: Annotated[float, number(0.1, _HOUR_S)] = 1.0
    """Seconds between two samples while somebody uses them; it slows down when nobody does."""
    check_interval_s: Annotated[float, number(1, _HOUR_S)] = 30.0
    """Seconds after which a cloud model's server is looked at (TCP and TLS, nothing is sent) where no request
    showed how fast it can be reached; sooner in times of trouble, not at all while nobody uses the daemon."""


class Http(Fields, frozen=True):
    """The endpoint for tools that speak OpenAI's, Anthropic's or Ollama's APIs. Tools are let in by a token:
    see the page about the [HTTP endpoint](http-endpoint.md)."""

    enabled: bool = False
    """Whether it is open from the daemon's start on. `oblix server` opens it until the daemon ends."""
    host: Annotated[str, text(r"[A-Za-z0-9.:_-]{1,253}", "a host's name or address")] = "127.0.0.1"
    """Where it listens. An address that other machines reach needs a certificate."""
    port: Annotated[int, number(0, 65535)] = 62549
    """The TCP port. 0: any free one."""
    certificate: CertificatePath = ""
    """The PEM file with its certificate chain. It then speaks https."""
    key: KeyFile = ""
    """The PEM file with the private key, which only its owner may read. Empty: `certificate` holds it."""
    client_ca: CertificatePath = ""
    """The PEM file with who signs the certificates of tools. Empty: they need none."""
    origins: tuple[Origin, ...] = ()
    """Web pages that may call it, as their browser names them. Empty: none."""
    aliases: tuple[AliasTable, ...] = ()
    """Other names for models."""
    record: Literal["off", "auto"] = "off"
    """Which conversations of tools are kept as sessions: `off` those that ask for it, `auto` all. Each is
    known by its newest answer."""
    ollama_without_token: bool = False
    """Whether clients of Ollama's API, which send no token, are let in. Every program of every user on this
    machine can then send prompts."""


class Limits(Fields, frozen=True):
    """What one client may do. A client is a token, or over the socket the name that the program's client
    gives itself. There it keeps a mistake in one program from harming the others."""

    executions: Annotated[int, number(0, 1_000_000)] = 0
    """Executions of one client that run or wait at the same time. 0: no limit."""
    calls_per_second: Annotated[int, number(0, 1_000_000)] = 0
    """Calls of one client in a second, of any kind. 0: no limit."""
    request_mib: Annotated[int, number(0, 16)] = 0
    """The largest request, in MiB. 0: what the daemon takes at all, 16."""


class Telemetry(Fields, frozen=True):
    """What is sent to an OpenTelemetry collector: see [traces](opentelemetry.md). It needs the extra `otel`.
    The standard variables `OTEL_*` of the daemon's environment go before these settings."""

    enabled: Literal["auto", "yes", "no"] = "auto"
    """Whether traces and metrics are sent. `auto`: where the daemon's environment names a collector, as
    `OTEL_EXPORTER_OTLP_ENDPOINT` does."""
    endpoint: Collector = ""
    """Where the collector takes OTLP. Empty: `http://localhost:4318`, or port 4317 for `grpc`."""
    protocol: Literal["http/protobuf", "grpc"] = "http/protobuf"
    """How it takes it."""
    headers_file: KeyFile = ""
    """A file with headers such as a key, as `NAME=VALUE` lines, which only its owner may read."""
    content: bool = False
    """Whether prompts and answers are sent, too. Those that must stay on this machine never are."""


class ListenTable(Fields, frozen=True, kw_only=True):
    """A TCP address where the daemon listens beside its socket. Clients need a token there. An address that
    other machines reach needs TLS, too, or the daemon does not start."""

    address: Annotated[str, text(listeners.PATTERN, listeners.FORM)]
    """Where, as in `tcp://127.0.0.1:4321`. Port 0: any free one."""
    certificate: CertificatePath = ""
    """A PEM file with the certificate and those that it is signed by. Its key is of P-256, P-384 or RSA."""
    key: CertificatePath = ""
    """A PEM file with the private key, which only its owner may read. Empty: it stands in `certificate`."""
    client_ca: CertificatePath = ""
    """A PEM file with who signs the certificates of clients. With it, a client needs such a certificate,
    and a token all the same."""


class Config(Fields, frozen=True):
    """All settings."""

    daemon: Daemon = Daemon()
    store: Store = Store()
    sessions: Sessions = Sessions()
    usage: Usage = Usage()
    execution: Execution = Execution()
    routing: Routing = Routing()
    network: Network = Network()
    models: tuple[ModelTable, ...] = ()
    """Models that serve where a program hooked none, in the order in which they are tried."""
    embedded: Embedded = Embedded()
    ollama: Ollama = Ollama()
    openai: OpenAI = OpenAI()
    claude: Claude = Claude()
    monitor: Monitor = Monitor()
    http: Http = Http()
    limits: Limits = Limits()
    telemetry: Telemetry = Telemetry()
    listen: tuple[ListenTable, ...] = ()
    """TCP addresses where the daemon listens beside its socket."""
