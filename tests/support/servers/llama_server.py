"""A real llama.cpp server whose chat template has a place for tools, as larger models' have.

    PYTHONPATH=tests python -m support.llama FILE.gguf

The packaged weights were never taught tools: the template shows a conversation as
a row of questions and calls, which even they go on with. Writes its URL, and lives
as long as its standard input.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).parents[2]
TEMPLATE = """\
{%- if tools %}<|im_start|>system
# Tools
You may call one or more functions. Function signatures within <tools></tools>:
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
For each function call return a json object within <tool_call></tool_call>:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == "assistant" and message.tool_calls %}<|im_start|>assistant
{{ message.content or "" }}
{%- for call in message.tool_calls %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% elif message.role == "tool" %}{% else %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@contextmanager
def serving(model: Path) -> Iterator[str]:
    """Give the URL of a server of a GGUF file, for as long as the block lasts."""
    command = [sys.executable, "-m", "support.servers.llama_server", str(model)]
    environ = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environ,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        # Leaving the block closes its standard input, and waits for it.


def main() -> None:
    """Serve until standard input closes."""
    import xllamacpp  # noqa: PLC0415 - whoever starts a server does not load it

    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[1]
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = 2048
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.verbosity = 1
    parameters.chat_template = TEMPLATE
    server = xllamacpp.Server(parameters)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
