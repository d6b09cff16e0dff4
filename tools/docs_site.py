"""What the documentation's site has beside `docs/`: the pages of the repository's root, and the contract.

A hook of mkdocs. The contract's page is written from the protos: their comments are its text.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
AT_ROOT = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
_SERVICE, _MESSAGE, _ENUM = 6, 4, 5
"""Numbers of the fields of FileDescriptorProto, which the paths of comments are made of."""
_METHOD, _FIELD, _VALUE = 2, 2, 2
_UP = re.compile(r"\]\(\.\./((?:\.\./)*(?:CONTRIBUTING|SECURITY|CHANGELOG)\.md)")
_DOWN = re.compile(r"\]\(docs/")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in `docs/`."""
    for name in AT_ROOT:
        text = _DOWN.sub("](", (ROOT / name).read_text("utf-8"))
        files.append(File.generated(config, name, content=text))
    files.append(File.generated(config, "reference/contract.md", content="\n".join(contract())))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Point the links of `docs/` to the pages that stand beside it in the repository."""
    return _UP.sub(r"](\1", markdown).replace("](decisions/)", "](decisions/configuration-schema.md)")


def contract() -> Iterator[str]:
    """Write the contract as Markdown: services first, then messages and enums."""
    buf = Path(sys.executable).with_name("buf")
    image = subprocess.run([buf, "build", "-o", "-"], check=True, cwd=ROOT / "protos", capture_output=True)
    files = [file for file in FileDescriptorSet.FromString(image.stdout).file if "oblix" in file.package]
    yield "# Contract `oblix.v1`\n\nWritten from the protos, which are in `protos/oblix/v1`.\n"
    for file in files:
        if file.package == "oblix.v1":
            yield from _file(file)


def _file(file: FileDescriptorProto) -> Iterator[str]:
    comments = {tuple(at.path): at.leading_comments.strip() for at in file.source_code_info.location}
    for number, service in enumerate(file.service):
        yield from _service(service, (_SERVICE, number), comments)
    for number, message in enumerate(file.message_type):
        yield from _message(message, (_MESSAGE, number), comments)
    for number, enum in enumerate(file.enum_type):
        yield from _enum(enum, (_ENUM, number), comments)


Comments = dict[tuple[int, ...], str]


def _service(service: ServiceDescriptorProto, at: tuple[int, ...], comments: Comments) -> Iterator[str]:
    yield f"## {service.name}\n\n{_prose(comments.get(at, ''))}\n"
    for number, method in enumerate(service.method):
        streams = "stream " if method.server_streaming else ""
        answer = f"{streams}{_short(method.output_type)}"
        yield f"### {service.name}.{method.name}\n\n`{_short(method.input_type)}` → `{answer}`\n"
        yield f"{_prose(comments.get((*at, _METHOD, number), ''))}\n"


def _message(message: DescriptorProto, at: tuple[int, ...], comments: Comments) -> Iterator[str]:
    yield f"## {message.name}\n\n{_prose(comments.get(at, ''))}\n"
    if message.field:
        yield "| Field | Type | Meaning |\n|---|---|---|"
    for number, field in enumerate(message.field):
        meaning = _cell(comments.get((*at, _FIELD, number), ""))
        yield f"| `{field.name}` | `{_type(field)}` | {meaning} |"
    yield ""


def _enum(enum: EnumDescriptorProto, at: tuple[int, ...], comments: Comments) -> Iterator[str]:
    yield f"## {enum.name}\n\n{_prose(comments.get(at, ''))}\n\n| Value | Meaning |\n|---|---|"
    for number, value in enumerate(enum.value):
        yield f"| `{value.name}` | {_cell(comments.get((*at, _VALUE, number), ''))} |"
    yield ""


def _type(field: FieldDescriptorProto) -> str:
    kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    name = _short(field.type_name) if field.type_name else kind
    return f"repeated {name}" if field.label == FieldDescriptorProto.LABEL_REPEATED else name


def _short(name: str) -> str:
    return name.removeprefix(".oblix.v1.").removeprefix(".google.protobuf.")


def _prose(comment: str) -> str:
    return "\n".join(line.strip() for line in comment.replace("<", "&lt;").splitlines())


def _cell(comment: str) -> str:
    return " ".join(_prose(comment).split()).replace("|", "\\|")
