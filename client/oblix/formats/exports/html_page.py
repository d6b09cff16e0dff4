"""One self-contained HTML page: conversations to read, to print, and to give away.

Everything that was said is escaped, or Markdown in which HTML is text. The page runs no script and loads
nothing: its own policy forbids both, and images of other places are links.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from oblix._convert import records as times
from oblix._convert.records import ROLES, STATUSES
from oblix.formats import images
from oblix.v1 import messages_pb2, sessions_pb2

_ROLE_NAMES = {number: name for name, number in ROLES.items()}
_STATUS_NAMES = {number: name for name, number in STATUSES.items()}
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SAFE_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #2f6f4f; }
* { box-sizing: border-box; }
body { font: 1rem/1.6 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
article + article { border-top: 2px solid var(--line); margin-top: 4rem; padding-top: 2rem; }
.about, .when { color: #777; font-size: .85rem; }
section { margin: 1.25rem 0; padding: .25rem 0 .25rem 1rem; border-left: 3px solid var(--line); }
section.user { border-color: var(--accent); background: var(--soft); }
section > h2 { font-size: .85rem; margin: 0; text-transform: capitalize; display: inline; }
.text, .text * { unicode-bidi: isolate; overflow-wrap: anywhere; }
.text > :first-child { margin-top: .4rem; } .text > :last-child { margin-bottom: .4rem; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 4px; padding: .6rem;
  overflow-x: auto; font: .85rem/1.45 ui-monospace, monospace; }
code { font-family: ui-monospace, monospace; font-size: .9em; }
table { border-collapse: collapse; } td, th { border: 1px solid var(--line); padding: .2rem .5rem; }
img { max-width: 100%; }
blockquote { margin-left: 0; padding-left: 1rem; border-left: 2px solid var(--line); }
details { margin: .4rem 0; } summary { cursor: pointer; color: #777; font-size: .9rem; }
@media print {
  body { max-width: none; margin: 0; font-size: 10.5pt; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  section > h2, .when { break-after: avoid; } article + article { break-before: page; border: 0; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""
START = f"""<!DOCTYPE html>
<html lang="und">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Conversations</title>
<style>{STYLE}</style>
</head>
<body>
"""
END = "</body>\n</html>\n"


def dump(session: sessions_pb2.Session, messages: list[messages_pb2.Message]) -> str:
    """Write a session as one article of the page."""
    title = _escape(" ".join(session.title.split())) or "Conversation"
    about = f"{_moment(session.create_time)} to {_moment(session.update_time)}, {len(messages)} messages"
    body = "\n".join(_section(message) for message in messages)
    return f'<article>\n<h1 dir="auto">{title}</h1>\n<p class="about">{about}</p>\n{body}\n</article>\n'


def _section(message: messages_pb2.Message) -> str:
    role = _ROLE_NAMES.get(message.role, "unknown")
    said = [_escape(" ".join(message.model.split())), _moment(message.create_time)]
    if message.status > messages_pb2.MESSAGE_STATUS_COMPLETE:
        said.append(_STATUS_NAMES.get(message.status, ""))
    when = ", ".join(filter(None, said))
    body = "\n".join(_blocks(message, is_markdown=message.role != messages_pb2.ROLE_TOOL))
    return f'<section class="{role}">\n<h2>{role}</h2> <span class="when">{when}</span>\n{body}\n</section>'


def _blocks(message: messages_pb2.Message, *, is_markdown: bool) -> Iterator[str]:
    text = ""
    for part in message.parts:
        kind = part.WhichOneof("kind")
        if kind == "text":
            text += part.text
            continue
        if text:
            yield _text(text, is_markdown=is_markdown)
            text = ""
        yield _other_part(part)
    if text:
        yield _text(text, is_markdown=is_markdown)


def _text(text: str, *, is_markdown: bool) -> str:
    if not is_markdown:
        return _pre(text)
    return f'<div class="text" dir="auto">{_markdown().render(_CONTROLS.sub("", text))}</div>'


def _other_part(part: messages_pb2.Part) -> str:
    match part.WhichOneof("kind"):
        case "reasoning":
            return _details("Reasoning", _text(part.reasoning, is_markdown=True))
        case "image" if part.image.media_type in _SAFE_IMAGES:
            return f'<p><img alt="" src="{_escape(images.url_of(part.image))}"></p>'
        case "image":
            return f"<p>An image of the type {_escape(part.image.media_type)}</p>"
        case "tool_call":
            return _details(
                f"Calls {_escape(part.tool_call.name)}", _pre(_indent(part.tool_call.arguments_json))
            )
        case _:
            word = "Failed" if part.tool_result.is_error else "Result"
            return _details(word, _pre(part.tool_result.content))


def _details(summary: str, body: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n{body}\n</details>"


def _pre(text: str) -> str:
    return f'<pre dir="auto">{_escape(text)}</pre>'


def _indent(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return arguments


def _moment(time: Any) -> str:
    return f"{times.to_text(time)[:16].replace('T', ' ')} UTC"


def _escape(text: str) -> str:
    return html.escape(_CONTROLS.sub("", text))


@cache
def _markdown() -> Any:
    """Make the renderer: HTML in a text stays text, remote images are links, and links send no referrer."""
    # rich brings it; it takes a while to load, and most exports need none.
    from markdown_it import MarkdownIt  # noqa: PLC0415

    renderer = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])

    def image(_self: Any, tokens: Any, index: int, _options: Any, _env: Any) -> str:
        url, alt = str(tokens[index].attrs.get("src", "")), tokens[index].content
        return f'<a rel="noreferrer noopener" href="{html.escape(url)}">{html.escape(alt or url)}</a>'

    renderer.add_render_rule("image", image)
    return renderer
