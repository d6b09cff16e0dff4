"""A Django view: one client for the process, used by all its threads."""

import oblix
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse

client = oblix.Client()  # costs nothing until it is used, and works after a fork


def ask(request: HttpRequest, user: str) -> StreamingHttpResponse:
    session = client.sessions.get_or_create(user, metadata={"app": "site"})
    texts = client.stream_text(request.GET["question"], session=session)
    return StreamingHttpResponse(texts, content_type="text/plain")


def history(request: HttpRequest, user: str) -> JsonResponse:
    try:
        messages = client.sessions.messages(user, last=20)
        said = [{"role": message.role, "content": message.content} for message in messages]
    except oblix.NotFoundError:
        said = []
    return JsonResponse({"messages": said})
