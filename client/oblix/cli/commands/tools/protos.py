"""`oblix protos`: the contract, for programs of other languages."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from oblix.cli.errors import CommandError
from oblix.v1 import (
    daemon_pb2,
    embeddings_pb2,
    endpoint_pb2,
    executions_pb2,
    messages_pb2,
    models_pb2,
    monitor_pb2,
    routing_pb2,
    sessions_pb2,
)

MODULES = (
    daemon_pb2,
    embeddings_pb2,
    endpoint_pb2,
    executions_pb2,
    messages_pb2,
    models_pb2,
    monitor_pb2,
    routing_pb2,
    sessions_pb2,
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = (
        "It is a google.protobuf.FileDescriptorSet with every file that the contract imports, as buf, protoc "
        "(--descriptor_set_in) and grpcurl (-protoset) read it. It needs no daemon."
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write it; - is standard output")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Write the descriptor set."""
    if not arguments.output and sys.stdout.isatty():
        raise CommandError("the descriptor set is binary: say -o FILE, or pipe it into another program.")
    content = descriptor_set().SerializeToString(deterministic=True)
    if arguments.output in {None, "-"}:
        sys.stdout.buffer.write(content)
    else:
        Path(arguments.output).write_bytes(content)


def descriptor_set() -> FileDescriptorSet:
    """Return the contract's files, each after those that it imports."""
    files: dict[str, FileDescriptor] = {}
    for module in MODULES:
        _collect(module.DESCRIPTOR, files)
    described = FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(described.file.add())
    return described


def _collect(file: FileDescriptor, files: dict[str, FileDescriptor]) -> None:
    if file.name in files:
        return
    for imported in file.dependencies:
        _collect(imported, files)
    files[file.name] = file
