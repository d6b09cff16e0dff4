"""An application with asyncio: several prompts at once, each in a session of its own."""

import asyncio

import oblix

TOPICS = ("glaciers", "marmots", "avalanches")


async def explain(client: oblix.AsyncClient, topic: str) -> str:
    session = await client.sessions.create(title=topic, metadata={"app": "explainer"})
    answer = await client.execute(f"Explain {topic} in a sentence.", session=session, max_tokens=100)
    return f"{topic} ({answer.model}): {answer.text}"


async def main() -> None:
    async with oblix.AsyncClient() as client:
        for line in await asyncio.gather(*(explain(client, topic) for topic in TOPICS)):
            print(line)
        async for session in client.sessions.list(metadata={"app": "explainer"}):
            print(session.title, session.message_count)


if __name__ == "__main__":
    asyncio.run(main())
