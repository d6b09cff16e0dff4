"""Slips that a type checker has to find: one in each line that is marked, and none elsewhere."""

from __future__ import annotations

from oblix import Answer, AsyncClient, Client, Delta, Reason, Session
from oblix.options import ExecuteOptions, ModelOptions


def slips(client: Client, session: Session, answer: Answer, delta: Delta) -> None:
    """Make one slip in each line."""
    client.execute("Why?", temprature=0.2)  # wrong: the option's name
    client.execute("Why?", temperature="0.2")  # wrong: a text for a number
    client.execute("Why?", session_id="trip")  # wrong: the guide's name of `session`
    client.execute("Why?", stream=True)  # wrong: `stream` is a method
    client.execute("Why?", reasoning="extreme")  # wrong: not one of the words
    client.execute("Why?", on_disconnect="stay")  # wrong: not one of the words
    client.execute("Why?", "trip")  # wrong: options have names
    client.execute("Why?", tools=weather)  # wrong: one function for a list
    client.execute([{"role": "robot", "content": "Hi"}])  # wrong: no such role
    client.execute([{"role": "user", "contents": "Hi"}])  # wrong: the key's name
    client.executes("Why?")  # wrong: the method's name
    client.stream_text("Why?", max_token=5)  # wrong: the option's name
    client.embed("A cat", dimension=8)  # wrong: the option's name
    client.sessions.create(titel="Trip")  # wrong: the option's name
    client.sessions.create("Trip", {"project": "alps"})  # wrong: options have names
    client.sessions.list(meta_data={})  # wrong: the option's name
    client.sessions.messages(session, last="1")  # wrong: a text for a number
    client.models.hook("ollama", "llama2", end_point="http://127.0.0.1")  # wrong: the option's name
    client.models.hook("ollama", "llama2", location="here")  # wrong: not one of the words
    client.usage.report(by="month")  # wrong: not one of the words
    answer.text = "Another"  # wrong: results are frozen
    session.titel  # wrong: the field's name  # noqa: B018 - the slip is the point
    print(answer["response"])  # wrong: a result is no dictionary
    print(delta.text.offset)  # wrong: a text has none
    print(answer.usage.input_tokens)  # wrong: there may be no usage
    print(Reason.SESSION_NOT_THERE)  # wrong: no such reason
    number: int = client.execute("Which?", response_model=str)  # wrong: it is a text
    options: ExecuteOptions = {"temprature": 0.5}  # wrong: the option's name
    more: ModelOptions = {"task": "chatting"}  # wrong: not one of the words
    print(number, options, more)


async def slips_of_async(client: AsyncClient) -> None:
    """Forget async and await."""
    print(client.execute("Why?").text)  # wrong: not awaited
    print("".join(client.stream_text("Why?")))  # wrong: `async for`
    print(list(client.sessions.list()))  # wrong: `async for`
    await client.sessions.list()  # wrong: a list is read by `async for`
    client.close()  # wrong: `aclose`


def weather(city: str) -> str:
    """Tell the weather."""
    return city
