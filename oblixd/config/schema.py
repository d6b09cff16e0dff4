"""Every setting in one place: name, type, range, default and meaning.

`oblixd.config.loader` reads them.
`python -m oblixd.config.reference` prints `docs/reference/configuration.md`.
No secret is a setting: keys come with a client's hook, or from a file, the keyring or a credential
that a setting names. The one exception is a proxy's password, which is hidden wherever settings are shown.
"""

# Types are evaluated here, once: as texts they would be evaluated anew for each configuration.
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
    """The price of a million tokens of a model."""

    model: Annotated[
        str, text(r"[^\s:]+:\S{1,256}", "PROVIDER:NAME; a * at the end stands for the rest of the name")
    ]
    """The model, for example `openai:gpt-4o-mini`. A `*` at its end stands for the rest of the name."""
    input: Cost
    """Price of a million tokens of the context."""
    output: Cost
    """Price of a million tokens of the answer."""
    cache_read: Cost | None = None
    """Price of the tokens that the server read from its cache. Default: the price of the context."""
    cache_write: Cost | None = None
    """Price of the tokens that the server wrote to its cache. Default: the price of the context."""


class PolicyTable(Fields, frozen=True, kw_only=True):
    """A new policy: an existing one with other thresholds."""

    name: PolicyName
    """The name by which sessions and prompts choose it."""
    base: PolicyName
    """The existing policy: a built-in one, or one that stands above."""
    max_cost: Cost | None = None
    """The maximum cost of a prompt."""
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
    """The value of this key. Numbers compare as numbers."""
    policy: PolicyName
    """The policy of such sessions."""


class ModelTable(ModelOptions, frozen=True, kw_only=True):
    """A model for programs that hook none."""

    name: Annotated[str, text(r"\S{1,256}", "a name of 1 to 256 characters")]
    """The provider's name for the model; for an embedded model, any name."""
    provider: Literal["embedded", "ollama", "openai", "claude", "custom"]
    """The provider. `custom` is any other server with OpenAI's chat completions."""
    endpoint: Endpoint = ""
    """The address of its server. Empty: the endpoint of `[ollama]`, `[openai]` or `[claude]`."""
    location: Literal["local", "cloud"] | None = None
    """The place where it runs. `custom` needs it, unless its server is on this machine."""
    key_file: KeyFile = ""
    """A file with the key. Only its owner may be able to read it."""
    key_keyring: Annotated[str, text(r"\S{0,256}", "a user name of the keyring's service oblix")] = ""
    """The entry of the system's keyring that holds the key: the user name under the service `oblix`."""
    key_credential: Annotated[str, text(r"[A-Za-z0-9._-]{0,255}", "a credential's name")] = ""
    """The systemd credential that holds the key."""
    file: AbsolutePath | None = None
    """The GGUF file of an embedded model."""


class AliasTable(Fields, frozen=True, kw_only=True):
    """Another name for a model, for tools that ask for fixed names."""

    name: Annotated[str, text(r"\S{1,128}", "a name of 1 to 128 characters")]
    """The name that the tool asks for, for example `gpt-4o`."""
    model: Annotated[str, text(r"\S{1,256}", "auto, a policy's name or PROVIDER:NAME")]
    """The model that answers: `auto`, a policy, or a model as PROVIDER:NAME."""


class Daemon(Fields, frozen=True):
    """The process itself."""

    grace_s: Annotated[float, number(0, _HOUR_S)] = 10.0
    """Seconds that running answers have to finish when the daemon ends."""
    idle_exit_s: Annotated[float, number(0, _MONTH_S)] = 0.0
    """Seconds without a call after which the daemon ends. 0: never."""
    log_level: Annotated[str, text("debug|info|warning|error", "debug, info, warning or error")] = "info"
    """The lowest level that is logged. The log never contains prompts, answers or keys."""
    client_memory_mib: Annotated[int, number(48, 1 << 20)] = client_memory.DEFAULT_MIB
    """The maximum memory for all clients together, in MiB: prompts that wait or run, large requests, answers
    that ended in the last minutes, unread responses. One client can use half of it. The last messages of
    sessions that were used in the last five minutes are kept beside it, in at most about 32 MiB."""


class Store(Fields, frozen=True):
    """The database of the conversations."""

    map_size_gib: Annotated[int, number(1, 65536)] = 64
    """The maximum size, in GiB. It reserves address space; the file is only as large as its contents.
    The last 64 MiB are reserved for deletions."""


class Sessions(Fields, frozen=True):
    """How long the daemon keeps conversations. A day has 24 hours."""

    deleted_days: Annotated[int, number(0, _MAX_DAYS)] = 30
    """Days in which you can undelete a session. 0: none."""
    retention_days: Annotated[int, number(0, _MAX_DAYS)] = 0
    """Days after its last change when `retention_action` applies to a session. 0: never. A session's own
    retention overrides it."""
    retention_action: Annotated[str, text("archive|delete", "archive or delete")] = "archive"
    """The action: `archive` archives the session, `delete` deletes it; you can undelete it."""


class Usage(Fields, frozen=True):
    """Prices of models, and caps on costs. Usage of a model without a price counts as unpriced.
    Days and months are those of `time_zone`."""

    prices: tuple[PriceTable | OldPrice, ...] = ()
    """Prices of models. A model on this machine costs nothing, unless it has a price here."""
    currency: Annotated[str, text("[A-Z]{3}", "three capital letters, as in ISO 4217")] = "USD"
    """The currency of prices and caps."""
    time_zone: Annotated[str, text("[A-Za-z0-9_+/-]{0,64}", "a name such as Europe/Paris, or empty")] = ""
    """The time zone of days and months. Empty: the system's time zone."""
    daily_cap: Annotated[float, number(0, _MAX_CAP)] = 0.0
    """The cap on the costs of a day. 0: no cap."""
    monthly_cap: Annotated[float, number(0, _MAX_CAP)] = 0.0
    """The cap on the costs of a month. 0: no cap."""
    cap_action: Annotated[str, text("refuse|local", "refuse or local")] = "refuse"
    """The action when a cap is reached and a prompt would cost something: `refuse` refuses the prompt,
    `local` sends it to a model that costs nothing."""


class Execution(Fields, frozen=True):
    """How prompts are answered."""

    queue_length: Annotated[int, number(0, 100_000)] = 512
    """Prompts that can wait for one model. Further prompts go to the next model, or are refused."""


class Routing(Fields, frozen=True):
    """The choice of a model for each prompt.
    The page about [routing](routing.md) describes the policies."""

    policy: PolicyName = "balanced"
    """The policy of prompts and sessions that name none."""
    cloud: Literal["yes", "no"] = "yes"
    """`no` makes each prompt of every program local-only."""
    policies: tuple[PolicyTable | OldPolicy, ...] = ()
    """New policies: each is an existing one with other thresholds."""
    rules: tuple[RuleTable | OldRule, ...] = ()
    """Policies for sessions by their metadata. The first match applies; a local-only policy always."""


class Embedded(Fields, frozen=True):
    """Models without a server: GGUF files. The daemon runs a process for each of them."""

    enabled: bool = True
    """Whether they answer prompts of programs that hook no model."""
    models: tuple[Gguf, ...] = ()
    """The files, by the names of their models. Empty: the packaged model alone."""
    threads: Annotated[int, number(0, 1024)] = 0
    """Threads that compute. 0: half of the cores, so that other programs can run."""
    context: Annotated[int, number(512, 1048576)] = 8192
    """The context window of one answer, in tokens, at most the model's own."""
    parallel: Annotated[int, number(1, 64)] = 1
    """Answers that one model writes at the same time. Each needs memory for its own context."""
    max_tokens: Annotated[int, number(1, 1048576)] = 1024
    """The longest answer in tokens if a request has no limit: a small model may find no end."""
    idle_unload_s: Annotated[float, number(0, _MONTH_S)] = 600.0
    """Seconds without a prompt after which the daemon unloads a model. 0: never."""
    max_memory_gib: Annotated[float, number(0, 65536)] = 0.0
    """The maximum memory of all loaded models together, in GiB. The daemon unloads idle models to make room.
    0: half of the memory of the machine or its container."""


class Ollama(Fields, frozen=True):
    """An Ollama server."""

    endpoint: Url = "http://localhost:11434"
    """The address of the server. A client's hook can name another one."""
    models: tuple[ModelName, ...] = ()
    """Models by Ollama's names, for programs that hook none. They come after the embedded ones."""
    num_ctx: Annotated[int, number(512, 1048576)] = 8192
    """The context window that Ollama loads a model with, in tokens, at most the model's own. A hook can name
    another one. It overrides the server's `OLLAMA_CONTEXT_LENGTH`, so that the window is always known."""
    keep_alive: KeepAlive = "5m"
    """How long a model stays loaded after an answer. A hook can name another time. It overrides the
    server's `OLLAMA_KEEP_ALIVE`."""
    parallel: Annotated[int, number(1, 1000)] = 1
    """Prompts that one model gets at the same time; the others wait in the daemon, in order. Set it to the
    server's `OLLAMA_NUM_PARALLEL`, whose default is 1."""


class OpenAI(Fields, frozen=True):
    """OpenAI's models for programs that hook none."""

    endpoint: Url = "https://api.openai.com/v1"
    """The address of the server: OpenAI's, or another one with OpenAI's chat completions."""
    models: tuple[ModelName, ...] = ()
    """Models by OpenAI's names. They come after those on this machine."""
    key_file: KeyFile = ""
    """A file with the key. Only its owner may be able to read it. Empty: the systemd credential
    `openai-api-key`, if there is one."""


class Claude(Fields, frozen=True):
    """Anthropic's models for programs that hook none."""

    endpoint: Url = "https://api.anthropic.com"
    """The address of the server."""
    models: tuple[ModelName, ...] = ()
    """Models by Anthropic's names. They come after OpenAI's."""
    key_file: KeyFile = ""
    """A file with the key. Only its owner may be able to read it. Empty: the systemd credential
    `claude-api-key`, if there is one."""


class Network(Fields, frozen=True):
    """Proxies and certificates for servers outside this machine. The daemon ignores `HTTPS_PROXY` and
    `SSL_CERT_FILE`, because its environment comes from the program that starts it; `oblix config
    import-environment` copies them here. The daemon never uses a proxy for servers on this machine and for
    local models."""

    proxy: Proxy = "none"
    """The proxy for all cloud models. Oblix never shows a password in it; protect the file."""
    no_proxy: tuple[NoProxy, ...] = ()
    """Hosts that need no proxy. A name includes its subdomains."""
    ca_file: CertificatePath = ""
    """A PEM file with further trusted certificates, for example those of a company."""
    ca_dir: CertificatePath = ""
    """A directory with such files."""


class Monitor(Fields, frozen=True):
    """The measurements of the machine and its network."""

    interval_s: Annotated[float, number(0.1, _HOUR_S)] = 1.0
    """Seconds between two samples while a program uses them; without one, samples are less frequent."""
    check_interval_s: Annotated[float, number(1, _HOUR_S)] = 30.0
    """Seconds without a request after which the daemon probes a cloud model's server (TCP and TLS, without
    data). It probes earlier after failures, and not at all while no program uses the daemon."""


class Http(Fields, frozen=True):
    """The endpoint for tools that speak OpenAI's, Anthropic's or Ollama's APIs. Tools need a token: see the
    page about the [HTTP endpoint](http-endpoint.md)."""

    enabled: bool = False
    """Whether the daemon opens it at its start. `oblix server` opens it until the daemon ends."""
    host: Annotated[str, text(r"[A-Za-z0-9.:_-]{1,253}", "a host's name or address")] = "127.0.0.1"
    """The address to listen on. An address that other machines can reach needs a certificate."""
    port: Annotated[int, number(0, 65535)] = 62549
    """The TCP port. 0: any free one."""
    certificate: CertificatePath = ""
    """The PEM file with its certificate chain, for https."""
    key: KeyFile = ""
    """The PEM file with the private key, readable by its owner only. Empty: `certificate` has it."""
    client_ca: CertificatePath = ""
    """The PEM file with the authority of the tools' certificates. Empty: tools need no certificate."""
    origins: tuple[Origin, ...] = ()
    """Origins of web pages that may call it. Empty: none."""
    aliases: tuple[AliasTable, ...] = ()
    """Other names for models."""
    record: Literal["off", "auto"] = "off"
    """The conversations of tools that become sessions: `off` those that ask for it, `auto` all. The newest
    answer in a request identifies its session."""
    ollama_without_token: bool = False
    """Whether clients of Ollama's API need no token. Then every program of every user on this machine can
    send prompts."""


class Limits(Fields, frozen=True):
    """Limits of one client. A client is a token, or over the socket the name that the client gives itself;
    there, the limits protect other programs from a mistake in one."""

    executions: Annotated[int, number(0, 1_000_000)] = 0
    """Executions of one client that can run or wait at the same time. 0: no limit."""
    calls_per_second: Annotated[int, number(0, 1_000_000)] = 0
    """Calls of one client in a second. 0: no limit."""
    request_mib: Annotated[int, number(0, 16)] = 0
    """The largest request, in MiB. 0: the daemon's own limit, 16."""


class Telemetry(Fields, frozen=True):
    """Traces and metrics for an OpenTelemetry collector: see [traces](../how-to/send-traces.md).
    This needs the extra `otel`.
    The standard variables `OTEL_*` of the daemon's environment override these settings."""

    enabled: Literal["auto", "yes", "no"] = "auto"
    """Whether the daemon sends traces and metrics. `auto`: if the daemon's environment names a collector,
    for example with `OTEL_EXPORTER_OTLP_ENDPOINT`."""
    endpoint: Collector = ""
    """The address of the collector. Empty: `http://localhost:4318`, or port 4317 for `grpc`."""
    protocol: Literal["http/protobuf", "grpc"] = "http/protobuf"
    """The protocol of the collector."""
    headers_file: KeyFile = ""
    """A file with headers such as a key, in lines `NAME=VALUE`. Only its owner may be able to read it."""
    content: bool = False
    """Whether the daemon also sends prompts and answers. It never sends those of local-only sessions."""


class ListenTable(Fields, frozen=True, kw_only=True):
    """A TCP address where the daemon listens beside its socket. Clients need a token there. An address that
    other machines can reach also needs TLS; without it, the daemon does not start."""

    address: Annotated[str, text(listeners.PATTERN, listeners.FORM)]
    """The address, for example `tcp://127.0.0.1:4321`. Port 0: any free port."""
    certificate: CertificatePath = ""
    """A PEM file with the certificate and its chain. The key is of P-256, P-384 or RSA."""
    key: CertificatePath = ""
    """A PEM file with the private key. Only its owner may be able to read it. Empty: `certificate` has it."""
    client_ca: CertificatePath = ""
    """A PEM file with the authority of the clients' certificates. With it, clients need such a certificate
    in addition to a token."""


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
    """Models for programs that hook none, in the order in which the daemon tries them."""
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
