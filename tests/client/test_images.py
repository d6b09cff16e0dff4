"""Pictures in prompts."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from oblix import InvalidArgumentError, NotFoundError, OblixClient
from oblix._resources.requests import Prompted, request_of
from oblix.testing import OllamaServer
from oblix.v1 import executions_pb2, messages_pb2

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)
GIF = b"GIF89a" + bytes(20)
WEBP = b"RIFF\x10\x00\x00\x00WEBP" + bytes(20)
URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def embed_request(prompt: object, **options: object) -> executions_pb2.ExecuteRequest:
    return request_of(Prompted(prompt, None, options))


def parts_of(content: object, role: str = "user") -> list[messages_pb2.Part]:
    said = [{"role": role, "content": content}, {"role": "user", "content": "And?"}]
    return list(embed_request(said).input[0].parts)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")],
)
def test_the_content_tells_the_type_whatever_the_name_says(
    tmp_path: Path, data: bytes, media_type: str
) -> None:
    path = tmp_path / "holiday.txt"
    path.write_bytes(data)
    (message,) = embed_request("What is this?", images=[path, str(path), data]).input
    assert message.parts[0].text == "What is this?"
    assert [(p.image.media_type, p.image.data) for p in message.parts[1:]] == [(media_type, data)] * 3


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "data": PNG},
        {"type": "image", "data": base64.b64encode(PNG).decode(), "media_type": "image/jpeg"},
        {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
        {"type": "image_url", "image_url": URL},
    ],
    ids=["bytes", "base64", "OpenAI's", "its short form"],
)
def test_content_is_a_list_of_texts_and_pictures(part: dict[str, object]) -> None:
    text, picture, more = parts_of([{"type": "text", "text": "Look:"}, part, {"type": "text", "text": "So?"}])
    assert (text.text, more.text) == ("Look:", "So?")
    assert (picture.image.media_type, picture.image.data) == ("image/png", PNG)


def test_a_picture_goes_with_the_last_words_of_a_user() -> None:
    assert [len(m.parts) for m in embed_request("", images=[PNG]).input] == [1]
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    roles = [m.role for m in embed_request(said, images=[PNG]).input]
    assert roles == [messages_pb2.ROLE_USER, messages_pb2.ROLE_ASSISTANT, messages_pb2.ROLE_USER]


@pytest.mark.parametrize(
    ("part", "field", "reason"),
    [
        ({"type": "image", "data": b"BM not a picture for models"}, ".data", "INVALID_MEDIA_TYPE"),
        ({"type": "image", "data": b""}, ".data", "INVALID_MEDIA_TYPE"),
        ({"type": "image", "data": PNG + bytes(8 << 20)}, ".data", "MESSAGE_TOO_LARGE"),
        ({"type": "image", "data": "not base64!"}, ".data", "INVALID_VALUE"),
        ({"type": "image", "data": 17}, ".data", "INVALID_VALUE"),
        ({"type": "image"}, "", "INVALID_VALUE"),
        ({"type": "image", "data": PNG, "path": "x.png"}, "", "INVALID_VALUE"),
        ({"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}, ".url", "INVALID_VALUE"),
        ({"type": "image_url", "image_url": "data:image/png;base64,?"}, ".image_url", "INVALID_VALUE"),
        ({"type": "image_url"}, ".image_url", "INVALID_VALUE"),
        ({"type": "audio", "data": PNG}, ".type", "INVALID_VALUE"),
        ({"type": "text"}, ".text", "INVALID_VALUE"),
        ("text", "", "INVALID_VALUE"),
    ],
)
def test_a_malformed_image_is_refused_with_its_field(part: object, field: str, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parts_of([part])
    assert caught.value.reason == reason
    named = caught.value.metadata["field"]
    assert named.startswith("prompt[0].content[0]")
    assert named.endswith(field)


def test_only_users_show_pictures_and_only_files_are_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError):
        parts_of([{"type": "image", "data": PNG}], role="assistant")
    with pytest.raises(NotFoundError):
        embed_request("Hi", images=[tmp_path / "missing.png"])
    with pytest.raises(InvalidArgumentError, match="directory"):
        embed_request("Hi", images=[tmp_path])
    for wrong in (PNG, "x.png", [17]):
        with pytest.raises(InvalidArgumentError):
            embed_request("Hi", images=wrong)


async def test_models_see_them_and_the_session_keeps_them(
    hooked_client: OblixClient, ollama: OllamaServer, tmp_path: Path
) -> None:
    session_id = await hooked_client.create_session()
    await hooked_client.execute("What is this?", images=[PNG, GIF], session_id=session_id, stream=False)
    asked = ollama.requests[-1].body["messages"][-1]
    assert asked["content"] == "What is this?"
    assert [base64.b64decode(image) for image in asked["images"]] == [PNG, GIF]

    session = hooked_client.load_session(session_id)
    assert session is not None
    assert session["messages"][0]["content"] == "What is this?"
    assert [part["image"]["media_type"] for part in session["messages"][0]["parts"][1:]] == [
        "image/png",
        "image/gif",
    ]
    await hooked_client.export_session(session_id, tmp_path / "session.json")
    imported = await hooked_client.import_session(tmp_path / "session.json")
    await hooked_client.execute("And now?", session_id=imported, stream=False)
    assert len(ollama.requests[-1].body["messages"][0]["images"]) == 2
