"""A web service with FastAPI: all requests share one client."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import oblix
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    async with oblix.AsyncClient() as app.state.oblix:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/chats/{user}")
async def ask(user: str, question: str, request: Request) -> StreamingResponse:
    client: oblix.AsyncClient = request.app.state.oblix
    session = await client.sessions.get_or_create(user, metadata={"app": "service"})
    # A browser that goes away cancels its answer.
    return StreamingResponse(client.stream_text(question, session=session), media_type="text/plain")
