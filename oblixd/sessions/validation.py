"""What may come in. Each refusal names the field, the limit and what was given.

The limits of metadata and context: 16 levels, 64 KiB as JSON, 256 keys, numbers that JSON can hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from json.encoder import encode_basestring

from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from oblix.v1 import messages_pb2, sessions_pb2

from oblixd.errors import GIVEN_CHARACTERS, InvalidArgumentError, invalid_field

MAX_TITLE_CHARACTERS = 1024
MAX_SOURCE_CHARACTERS = 512
MAX_POLICY_CHARACTERS = 64
MAX_MESSAGES = 1000
MAX_SESSIONS = 1000
MAX_PARTS = 256
MAX_MESSAGE_BYTES = 8 * 2**20
MAX_ID_CHARACTERS = 128
MAX_PAGE_SIZE = 1000
MAX_NAME_CHARACTERS = 128
MAX_MEDIA_TYPE_CHARACTERS = 127
MAX_CLIENT_DATA_BYTES = 2**20
LARGEST_STATE_BYTES = 256 * 1024
"""What a model's server wants back with one message."""
MAX_REASON_CHARACTERS = 128
MAX_DETAIL_CHARACTERS = 4096

_SESSION_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_REQUEST_ID = re.compile(r"[ -~]{1,128}")
_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800
"""Seconds since 1970 between which a Timestamp is an instant."""
_ROLES = frozenset(messages_pb2.Role.values()) - {messages_pb2.ROLE_UNSPECIFIED}
_STATUSES = frozenset(messages_pb2.MessageStatus.values()) - {messages_pb2.MESSAGE_STATUS_STREAMING}
_MAX_DURATION_SECONDS = 315_576_000_000
_SECOND_NS = 1_000_000_000


def check_session_id(session_id: str, field: str = "session_id") -> None:
    """1 to 128 characters of A-Z a-z 0-9 . _ -."""
    if not _SESSION_ID.fullmatch(session_id):
        raise invalid_field(
            "INVALID_SESSION_ID",
            field,
            f"must be 1 to 128 characters of A-Z a-z 0-9 . _ -, not {_excerpt(session_id)}.",
            limit="[A-Za-z0-9._-]{1,128}",
            given=session_id,
        )


def check_request_id(request_id: str, field: str = "request_id") -> None:
    """1 to 128 printable ASCII characters."""
    if not _REQUEST_ID.fullmatch(request_id):
        raise invalid_field(
            "INVALID_REQUEST_ID",
            field,
            f"must be 1 to 128 printable ASCII characters, not {_excerpt(request_id)}.",
            limit="1 to 128 printable ASCII characters",
            given=request_id,
        )


def check_title(title: str, field: str = "session.title") -> None:
    """Check a title: at most 1,024 characters."""
    _check_length(title, field, MAX_TITLE_CHARACTERS, "TITLE_TOO_LONG")


def check_routing_policy(name: str) -> None:
    """Check a policy's name: at most 64 characters. Routing finds out whether it exists."""
    _check_length(name, "session.routing_policy", MAX_POLICY_CHARACTERS, "POLICY_NAME_TOO_LONG")


def check_source_id(source_id: str, field: str) -> None:
    """Check a source's id: at most 512 characters."""
    _check_length(source_id, field, MAX_SOURCE_CHARACTERS, "SOURCE_ID_TOO_LONG")


def check_ids(session_ids: Sequence[str]) -> list[str]:
    """1 to 1,000 session ids; each once, in the order of their first naming."""
    if not 1 <= len(session_ids) <= MAX_SESSIONS:
        raise invalid_field(
            "INVALID_SESSION_COUNT",
            "session_ids",
            f"must name 1 to {MAX_SESSIONS:,} sessions, not {len(session_ids):,}.",
            limit=MAX_SESSIONS,
            given=len(session_ids),
        )
    for place, session_id in enumerate(session_ids):
        check_session_id(session_id, f"session_ids[{place}]")
    return list(dict.fromkeys(session_ids))


def check_page_size(page_size: int, default: int) -> int:
    """Return the size to use: 0 is the default, more than 1,000 is 1,000, negative is refused."""
    if page_size < 0:
        raise invalid_field(
            "INVALID_PAGE_SIZE",
            "page_size",
            f"must be 0 (for {default}) or more, not {page_size}.",
            limit=f"0 to {MAX_PAGE_SIZE}",
            given=page_size,
        )
    return min(page_size or default, MAX_PAGE_SIZE)


def check_sequence(sequence: int, field: str) -> None:
    """0 or more."""
    if sequence < 0:
        raise invalid_field(
            "INVALID_SEQUENCE", field, f"must be 0 or more, not {sequence}.", limit=0, given=sequence
        )


def check_messages(messages: Sequence[messages_pb2.Message], field: str = "messages") -> None:
    """1 to 1,000 messages, each within its limits."""
    check_count(len(messages), field)
    for place, message in enumerate(messages):
        check_message(message, f"{field}[{place}]")
        if is_empty_time(message):
            raise empty_time(f"{field}[{place}].create_time", "now")


def check_count(count: int, field: str, least: int = 1) -> None:
    """`least` to 1,000 messages."""
    if not least <= count <= MAX_MESSAGES:
        raise invalid_field(
            "INVALID_MESSAGE_COUNT",
            field,
            f"must be {least} to {MAX_MESSAGES:,} messages, not {count:,}.",
            limit=MAX_MESSAGES,
            given=count,
        )


def check_message(message: messages_pb2.Message, field: str) -> None:
    """Check a message: a known role and status, at most 256 parts, 8 MiB in all, an instant that exists."""
    if message.role not in _ROLES:
        raise invalid_field(
            "INVALID_ROLE",
            f"{field}.role",
            "must be ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT or ROLE_TOOL.",
            given=message.role,
        )
    if message.status not in _STATUSES:
        raise invalid_field(
            "INVALID_STATUS",
            f"{field}.status",
            "must be COMPLETE, CANCELLED, FAILED or INTERRUPTED; only a running turn's answer is STREAMING.",
            given=message.status,
        )
    check_parts(message.parts, f"{field}.parts")
    _check_length(message.model, f"{field}.model", MAX_TITLE_CHARACTERS, "MODEL_TOO_LONG")
    check_client_data(message.client_data, f"{field}.client_data")
    _check_provider_state(message.provider_state, f"{field}.provider_state")
    if message.HasField("create_time"):
        check_time(message.create_time, f"{field}.create_time")


def check_exclusion(reason: str, detail: str, field: str = "") -> None:
    """Check a reason (at most 128 characters) and a detail (at most 4,096) of the message `field`."""
    _check_length(reason, f"{field}reason", MAX_REASON_CHARACTERS, "EXCLUSION_TOO_LONG")
    _check_length(detail, f"{field}detail", MAX_DETAIL_CHARACTERS, "EXCLUSION_TOO_LONG")


def check_sequences(sequences: Sequence[int], field: str = "sequences") -> None:
    """Check the sequences of 1 to 1,000 messages, each 1 or more."""
    check_count(len(sequences), field)
    for place, sequence in enumerate(sequences):
        if sequence < 1:
            raise invalid_field(
                "INVALID_SEQUENCE",
                f"{field}[{place}]",
                f"must be 1 or more, not {sequence}.",
                limit=1,
                given=sequence,
            )


def check_choice(**given: bool) -> None:
    """Exactly one of the fields is given, by its name."""
    count = sum(given.values())
    if count != 1:
        names = ", ".join(given)
        raise invalid_field(
            "INVALID_REQUEST",
            names,
            f"must be given so that exactly one of them is set, not {count}.",
            limit=1,
            given=count,
        )


def check_provenance(message: messages_pb2.Message, field: str) -> None:
    """Check what only imported messages bring along: ids and durations."""
    _check_length(message.id, f"{field}.id", MAX_ID_CHARACTERS, "MESSAGE_ID_TOO_LONG")
    if message.request_id:
        check_request_id(message.request_id, f"{field}.request_id")
    if message.source_session_id:
        check_session_id(message.source_session_id, f"{field}.source_session_id")
    if message.version < 0:
        raise invalid_field(
            "INVALID_VERSION",
            f"{field}.version",
            f"must be 0 or more, not {message.version}.",
            limit=0,
            given=message.version,
        )
    if message.HasField("exclusion"):
        mark = message.exclusion
        check_exclusion(mark.reason, mark.detail, f"{field}.exclusion.")
        check_time(mark.mark_time, f"{field}.exclusion.mark_time")
    check_durations(message, field)


def check_durations(message: messages_pb2.Message, field: str) -> None:
    """Durations within what a Duration may hold."""
    timings = message.timings
    durations = [timings.queued, timings.time_to_first_token, timings.total]
    durations += [reading.age for reading in message.decision.readings]
    for candidate in message.decision.candidates:
        durations += [reading.age for reading in candidate.readings]
    for duration in durations:
        if abs(duration.seconds) > _MAX_DURATION_SECONDS or abs(duration.nanos) >= _SECOND_NS:
            raise invalid_field(
                "INVALID_DURATION",
                f"{field}.timings",
                "must hold durations of at most 10,000 years.",
                limit=_MAX_DURATION_SECONDS,
                given=duration.seconds,
            )


def check_parts(parts: Sequence[messages_pb2.Part], field: str) -> None:
    """Check parts: at most 256, 8 MiB in all, each with one kind set."""
    if len(parts) > MAX_PARTS:
        raise invalid_field(
            "TOO_MANY_PARTS",
            field,
            f"must be at most {MAX_PARTS} parts, not {len(parts):,}.",
            limit=MAX_PARTS,
            given=len(parts),
        )
    size = sum(part.ByteSize() for part in parts)
    if size > MAX_MESSAGE_BYTES:
        raise invalid_field(
            "MESSAGE_TOO_LARGE",
            field,
            f"must be at most {MAX_MESSAGE_BYTES:,} bytes (8 MiB) in all, not {size:,}.",
            limit=MAX_MESSAGE_BYTES,
            given=size,
        )
    for place, part in enumerate(parts):
        _check_part(part, f"{field}[{place}]")


def _check_provider_state(state: messages_pb2.ProviderState, field: str) -> None:
    """Check the state: at most 256 KiB of JSON, by an author of at most 4,096 characters."""
    _check_length(state.author, f"{field}.author", MAX_DETAIL_CHARACTERS, "PROVIDER_STATE_TOO_LARGE")
    if len(state.json.encode()) > LARGEST_STATE_BYTES:
        raise invalid_field(
            "PROVIDER_STATE_TOO_LARGE",
            f"{field}.json",
            f"must be at most {LARGEST_STATE_BYTES:,} bytes (256 KiB), not {len(state.json.encode()):,}.",
            limit=LARGEST_STATE_BYTES,
            given=len(state.json.encode()),
        )


def check_client_data(data: bytes, field: str) -> None:
    """Check the data: at most 1 MiB."""
    if len(data) > MAX_CLIENT_DATA_BYTES:
        raise invalid_field(
            "CLIENT_DATA_TOO_LARGE",
            field,
            f"must be at most {MAX_CLIENT_DATA_BYTES:,} bytes (1 MiB), not {len(data):,}.",
            limit=MAX_CLIENT_DATA_BYTES,
            given=len(data),
        )


def check_filter(filter_: Struct | None) -> None:
    """Refuse a filter that is set and has no key. None: it is not set.

    Several languages' stubs take a plain object where a Struct is wanted, and send an empty message for it.
    Read as "no filter" that is every session.
    """
    if filter_ is not None and not filter_.fields:
        problem = (
            "is set and empty. Leave it unset to mean every session, or give it a key: a Struct is "
            'written {"fields": {KEY: {"stringValue": TEXT}}} where the stubs take no plain object.'
        )
        raise invalid_field(
            "FILTER_EMPTY", "filter", problem, limit="1 key or more, or unset", given="no key"
        )


def is_empty_time(holder: messages_pb2.Message | sessions_pb2.Session) -> bool:
    """Return whether its create_time is set and empty: several languages' stubs make that of a date."""
    return holder.HasField("create_time") and holder.create_time.ByteSize() == 0


def empty_time(field: str, unset: str) -> InvalidArgumentError:
    """Return the error for a time that is set and empty. `unset`: what leaving it out means."""
    problem = (
        f"is set and empty, which is 1970-01-01T00:00:00Z. Leave it unset to mean {unset}, or give it "
        '{"seconds": S, "nanos": N}: stubs that take no date of their language send an empty one for it.'
    )
    return invalid_field("TIME_EMPTY", field, problem, limit="another time, or unset", given="1970-01-01")


def check_time(time: Timestamp, field: str) -> None:
    """Check that an instant lies between the years 1 and 9999."""
    if not (_YEAR_1 <= time.seconds < _YEAR_10000 and 0 <= time.nanos < _SECOND_NS):
        raise invalid_field(
            "INVALID_TIME",
            field,
            "must be an instant between the years 1 and 9999, with 0 to 999,999,999 nanoseconds.",
            given=f"{time.seconds} s, {time.nanos} ns",
        )


def _check_part(part: messages_pb2.Part, field: str) -> None:
    match part.WhichOneof("kind"):
        case None:
            raise invalid_field(
                "EMPTY_PART", field, "must have a kind: text, image, tool_call, tool_result …"
            )
        case "image" if not 1 <= len(part.image.media_type) <= MAX_MEDIA_TYPE_CHARACTERS:
            raise invalid_field(
                "INVALID_MEDIA_TYPE",
                f"{field}.image.media_type",
                "must be an IANA media type of 1 to 127 characters, for example image/png.",
                limit=MAX_MEDIA_TYPE_CHARACTERS,
                given=part.image.media_type,
            )
        case "tool_call" if not 1 <= len(part.tool_call.name) <= MAX_NAME_CHARACTERS:
            raise invalid_field(
                "INVALID_TOOL_NAME",
                f"{field}.tool_call.name",
                "must be 1 to 128 characters.",
                limit=MAX_NAME_CHARACTERS,
                given=part.tool_call.name,
            )


def _check_length(text: str, field: str, limit: int, reason: str) -> None:
    if len(text) > limit:
        raise invalid_field(
            reason,
            field,
            f"must be at most {limit:,} characters, not {len(text):,}.",
            limit=limit,
            given=len(text),
        )


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= GIVEN_CHARACTERS else text[:GIVEN_CHARACTERS] + "…")


MAX_LEVELS = 16
MAX_JSON_BYTES = 64 * 1024
MAX_KEYS = 256
MAX_INTEGER = 2**53
MAX_FILTER_KEYS = 16


def check_struct(struct: Struct, field: str) -> None:
    """InvalidArgumentError where a limit is passed. Stops at the first, however much follows."""
    _Measure(field).object(struct, 1, "")


class _Measure:
    """Walks a Struct once, counting keys and the bytes of its shortest JSON."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._keys = 0
        self._bytes = 0

    def object(self, struct: Struct, level: int, path: str) -> None:
        self._enter(level, len(struct.fields))
        self._keys += len(struct.fields)
        if self._keys > MAX_KEYS:
            raise self._invalid("TOO_MANY_KEYS", f"must have at most {MAX_KEYS} keys in all.", MAX_KEYS)
        for key, value in struct.fields.items():
            self._text(key)
            self._add(1)
            self._value(value, level, f"{path}.{key}")

    def _list(self, values: ListValue, level: int, path: str) -> None:
        self._enter(level, len(values.values))
        for place, value in enumerate(values.values):
            self._value(value, level, f"{path}[{place}]")

    def _value(self, value: Value, level: int, path: str) -> None:
        match value.WhichOneof("kind"):
            case "struct_value":
                self.object(value.struct_value, level + 1, path)
            case "list_value":
                self._list(value.list_value, level + 1, path)
            case "string_value":
                self._text(value.string_value)
            case "number_value":
                self._number(value.number_value, path)
            case "bool_value" | "null_value":
                self._add(5 if value.WhichOneof("kind") == "bool_value" and not value.bool_value else 4)
            case _:
                raise invalid_field(
                    "NOT_JSON", f"{self._field}{path}", "must have a value; null is a value, too."
                )

    def _enter(self, level: int, children: int) -> None:
        if level > MAX_LEVELS:
            raise self._invalid("TOO_DEEP", f"must be at most {MAX_LEVELS} levels deep.", MAX_LEVELS)
        self._add(2 + max(children - 1, 0))

    def _text(self, text: str) -> None:
        self._add(len(encode_basestring(text).encode()))

    def _number(self, number: float, path: str) -> None:
        check_number(number, f"{self._field}{path}")
        self._add(len(repr(int(number) if number.is_integer() else number)))

    def _add(self, size: int) -> None:
        self._bytes += size
        if self._bytes > MAX_JSON_BYTES:
            raise self._invalid(
                "TOO_LARGE", f"must be at most {MAX_JSON_BYTES:,} bytes (64 KiB) as JSON.", MAX_JSON_BYTES
            )

    def _invalid(self, reason: str, problem: str, limit: int) -> InvalidArgumentError:
        return invalid_field(reason, self._field, problem, limit=limit, given=f"more than {limit}")


def check_number(number: float, field: str) -> None:
    """Check a number: JSON can hold it, and it stays what it is as a double."""
    if not math.isfinite(number):
        raise invalid_field("NOT_JSON", field, f"must be a finite number, not {number}.", given=number)
    if number.is_integer() and abs(number) > MAX_INTEGER:
        raise invalid_field(
            "INTEGER_TOO_LARGE",
            field,
            "must be a whole number of at most 2^53 (9,007,199,254,740,992), or a text.",
            limit=MAX_INTEGER,
            given=number,
        )
