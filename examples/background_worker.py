"""A worker: gives each new session that asks for it a title, behind everybody who waits for a model."""

import oblix

TITLE = "Give this conversation a title of at most five words. Say the title and nothing else:\n\n"


def work(client: oblix.Client, most: int | None = None) -> None:
    done = 0
    for change in client.sessions.watch(metadata={"wants_title": True}):
        if isinstance(change, oblix.SessionChanged) and change.session.message_count:
            said = client.sessions.messages(change.session, last=10)
            prompt = TITLE + "\n".join(message.content for message in said)
            title = client.execute(prompt, priority="background", max_tokens=20).text.strip()
            client.sessions.update(change.session, title=title, metadata={"wants_title": False})
            done += 1
            if done == most:
                return


if __name__ == "__main__":
    with oblix.Client() as client:
        work(client)
