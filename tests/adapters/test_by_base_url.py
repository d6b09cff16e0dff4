"""Libraries that know nothing of Oblix: only the base URL is changed, and a token stands for the key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from oblix.testing import Answer, Refuse, ToolCall
from pydantic import BaseModel

from .conftest import Endpoint

pytest.importorskip("litellm")

pytestmark = pytest.mark.adapters

ASK = [{"role": "user", "content": "Weather?"}]
CALLS = (
    ToolCall("weather", {"city": "Bern"}, "call_1"),
    ToolCall("weather", {"city": "Chur"}, "call_2"),
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TEXT = " ".join(f"word{number}" for number in range(300))
LIMITED = Answer("", fault=Refuse(429, "Slow down.", {"Retry-After": "7"}))


class City(BaseModel):
    """A city."""

    name: str
    people: int


CHUR = Answer('{"name": "Chur", "people": 41000}')


def weather(city: str) -> str:
    """Tell the weather."""
    return f"Snow in {city}."


def roles(endpoint: Endpoint) -> list[str]:
    """The roles of what the model got last."""
    return [message["role"] for message in endpoint.server.requests[-1].body["messages"]]


class TestLiteLLM:
    """litellm, in the dialects of OpenAI, Anthropic and Ollama."""

    @pytest.fixture(params=["openai/auto", "anthropic/auto", "ollama_chat/auto"])
    def options(self, request: pytest.FixtureRequest, endpoint: Endpoint) -> dict[str, Any]:
        is_openai = request.param.startswith("openai")
        return {
            "model": request.param,
            "api_base": endpoint.base_url if is_openai else endpoint.url,
            "api_key": endpoint.token,
            "num_retries": 0,
            "max_retries": 0,
        }

    def test_answers_and_usage(self, options: dict[str, Any], endpoint: Endpoint) -> None:
        import litellm

        endpoint.server.script(Answer("It snows.", input_tokens=7))
        done = litellm.completion(messages=ASK, temperature=0.5, **options)
        assert done.choices[0].message.content == "It snows."
        assert done.choices[0].finish_reason == "stop"
        assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (7, 2)
        assert endpoint.server.requests[-1].body["temperature"] == 0.5

    async def test_streams(self, options: dict[str, Any], endpoint: Endpoint) -> None:
        import litellm

        endpoint.server.script(TEXT, TEXT)
        chunks = list(litellm.completion(messages=ASK, stream=True, **options))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
        later = await litellm.acompletion(messages=ASK, stream=True, **options)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in later]) == TEXT

    def test_tools(self, options: dict[str, Any], endpoint: Endpoint) -> None:
        import litellm

        endpoint.server.script(Answer(tool_calls=CALLS), "It snows.")
        first = litellm.completion(messages=ASK, tools=[WEATHER], **options).choices[0]
        calls = first.message.tool_calls
        assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Bern", "Chur"]
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": weather(call.function.name)}
            for call in calls
        ]
        messages = [*ASK, first.message.model_dump(), *results]
        done = litellm.completion(messages=messages, tools=[WEATHER], **options)
        assert done.choices[0].message.content == "It snows."
        assert roles(endpoint) == ["user", "assistant", "tool", "tool"]

    def test_schemas(self, options: dict[str, Any], endpoint: Endpoint) -> None:
        import litellm

        if options["model"].startswith("anthropic"):
            # Its way to a schema with models whose name it does not know is a tool that must be called.
            endpoint.server.script(
                Answer(tool_calls=(ToolCall("json_tool_call", {"name": "Chur", "people": 41000}),))
            )
        else:
            endpoint.server.script(CHUR)
        done = litellm.completion(messages=ASK, response_format=City, **options)
        assert City.model_validate_json(done.choices[0].message.content).name == "Chur"

    def test_errors(self, options: dict[str, Any], endpoint: Endpoint) -> None:
        import litellm

        with pytest.raises((litellm.NotFoundError, litellm.APIConnectionError), match="nothing"):
            litellm.completion(
                messages=ASK, **options | {"model": options["model"].replace("auto", "nothing")}
            )
        with pytest.raises((litellm.AuthenticationError, litellm.APIConnectionError)):
            litellm.completion(messages=ASK, **options | {"api_key": "wrong"})


def test_litellm_speaks_responses_and_embeddings(endpoint: Endpoint) -> None:
    import litellm

    options: dict[str, Any] = {"api_base": endpoint.base_url, "api_key": endpoint.token}
    endpoint.server.script("It snows.")
    done = litellm.responses(model="openai/auto", input="Weather?", **options)
    assert done.output[-1].content[0].text == "It snows."
    found = litellm.embedding(model="openai/vectors", input=["A cat", "A dog"], **options)
    assert len(found.data) == 2


class TestLangChain:
    """langchain-openai, over chat completions and Responses."""

    @pytest.fixture(params=[False, True], ids=["chat", "responses"])
    def model(self, request: pytest.FixtureRequest, endpoint: Endpoint) -> Any:
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(
            model="auto",
            base_url=endpoint.base_url,
            api_key=endpoint.token,
            max_retries=0,
            use_responses_api=request.param,
            # Its own is kept for all event loops, and each test has a loop of its own.
            http_async_client=httpx.AsyncClient(),
            stream_usage=True,
        )

    def test_answers_and_usage(self, model: Any, endpoint: Endpoint) -> None:
        endpoint.server.script(Answer("It snows.", input_tokens=7))
        done = model.invoke("Weather?")
        assert done.text == "It snows."
        assert (done.usage_metadata["input_tokens"], done.usage_metadata["output_tokens"]) == (7, 2)

    async def test_streams(self, model: Any, endpoint: Endpoint) -> None:
        endpoint.server.script(TEXT, TEXT)
        chunks = list(model.stream("Weather?"))
        assert "".join(chunk.text for chunk in chunks) == TEXT
        assert sum(chunk.usage_metadata["output_tokens"] for chunk in chunks if chunk.usage_metadata) == 300
        assert "".join([chunk.text async for chunk in model.astream("Weather?")]) == TEXT

    def test_tools(self, model: Any, endpoint: Endpoint) -> None:
        from langchain_core.messages import HumanMessage, ToolMessage

        endpoint.server.script(Answer(tool_calls=CALLS), "It snows.")
        with_tools = model.bind_tools([weather])
        asked = HumanMessage("Weather?")
        called = with_tools.invoke([asked])
        assert [call["args"] for call in called.tool_calls] == [{"city": "Bern"}, {"city": "Chur"}]
        results = [
            ToolMessage(weather(**call["args"]), tool_call_id=call["id"]) for call in called.tool_calls
        ]
        assert with_tools.invoke([asked, called, *results]).text == "It snows."
        assert roles(endpoint) == ["user", "assistant", "tool", "tool"]

    def test_schemas(self, model: Any, endpoint: Endpoint) -> None:
        endpoint.server.script(CHUR)
        assert model.with_structured_output(City).invoke("Which?") == City(name="Chur", people=41000)

    def test_errors(self, model: Any, endpoint: Endpoint) -> None:

        with pytest.raises(openai.NotFoundError, match="nothing"):
            model.model_copy(update={"model_name": "nothing"}).invoke("Hello")


def test_langchain_embeds(endpoint: Endpoint) -> None:
    from langchain_openai import OpenAIEmbeddings

    embeddings = OpenAIEmbeddings(
        model="vectors",
        base_url=endpoint.base_url,
        api_key=endpoint.token,
        check_embedding_ctx_length=False,
    )
    vectors = embeddings.embed_documents(["A cat", "A dog"])
    assert len(vectors) == 2
    assert vectors[0] != vectors[1]


class TestPydanticAI:
    """pydantic-ai, over chat completions and Responses."""

    @pytest.fixture(params=["chat", "responses"])
    def model(self, request: pytest.FixtureRequest, endpoint: Endpoint) -> Any:
        from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
        from pydantic_ai.providers.openai import OpenAIProvider

        provider = OpenAIProvider(base_url=endpoint.base_url, api_key=endpoint.token)
        kind = OpenAIChatModel if request.param == "chat" else OpenAIResponsesModel
        return kind("auto", provider=provider)

    async def test_answers_tools_and_usage(self, model: Any, endpoint: Endpoint) -> None:
        from pydantic_ai import Agent

        agent = Agent(model, instructions="Be brief.", tools=[weather])
        endpoint.server.script(Answer(tool_calls=CALLS, input_tokens=5), Answer("It snows.", input_tokens=7))
        result = await agent.run("Weather?")
        assert result.output == "It snows."
        assert result.usage.input_tokens == 12
        assert roles(endpoint) == ["system", "user", "assistant", "tool", "tool"]
        endpoint.server.script("Sun.")
        again = await agent.run("Tomorrow?", message_history=result.all_messages())
        assert again.output == "Sun."

    async def test_streams(self, model: Any, endpoint: Endpoint) -> None:
        from pydantic_ai import Agent

        endpoint.server.script(TEXT)
        async with Agent(model).run_stream("Count") as stream:
            texts = [text async for text in stream.stream_text(delta=True, debounce_by=None)]
        assert "".join(texts) == TEXT
        assert len(texts) > 1

    async def test_schemas(self, model: Any, endpoint: Endpoint) -> None:
        from pydantic_ai import Agent, NativeOutput

        endpoint.server.script(
            Answer(tool_calls=(ToolCall("final_result", {"name": "Chur", "people": 41000}),))
        )
        assert (await Agent(model, output_type=City).run("Which?")).output.name == "Chur"
        endpoint.server.script(CHUR)
        assert (await Agent(model, output_type=NativeOutput(City)).run("Which?")).output.people == 41000

    async def test_errors(self, model: Any, endpoint: Endpoint) -> None:
        from pydantic_ai import Agent
        from pydantic_ai.exceptions import ModelHTTPError

        other = type(model)("nothing", provider=model._provider)
        with pytest.raises(ModelHTTPError, match="nothing") as wrong:
            await Agent(other).run("Hello")
        assert wrong.value.status_code == 404


class TestAgentsSDK:
    """openai-agents, over Responses (its default) and chat completions."""

    @pytest.fixture(params=["responses", "chat"])
    def model(self, request: pytest.FixtureRequest, endpoint: Endpoint) -> Any:
        from agents import OpenAIChatCompletionsModel, OpenAIResponsesModel, set_tracing_disabled
        from openai import AsyncOpenAI

        set_tracing_disabled(True)
        client = AsyncOpenAI(base_url=endpoint.base_url, api_key=endpoint.token, max_retries=0)
        kind = OpenAIChatCompletionsModel if request.param == "chat" else OpenAIResponsesModel
        return kind("auto", openai_client=client)

    @pytest.fixture
    def session(self) -> Iterator[Any]:
        from agents import SQLiteSession

        session = SQLiteSession("s")
        yield session
        session.close()

    async def test_answers_tools_and_usage(self, model: Any, endpoint: Endpoint, session: Any) -> None:
        from agents import Agent, Runner, function_tool

        agent = Agent("a", instructions="Be brief.", model=model, tools=[function_tool(weather)])
        endpoint.server.script(Answer(tool_calls=CALLS, input_tokens=5), Answer("It snows.", input_tokens=7))
        result = await Runner.run(agent, "Weather?", session=session)
        assert result.final_output == "It snows."
        assert result.context_wrapper.usage.input_tokens == 12
        assert roles(endpoint) == ["system", "user", "assistant", "tool", "tool"]
        endpoint.server.script("Sun.")
        assert (await Runner.run(agent, "Tomorrow?", session=session)).final_output == "Sun."
        assert len(roles(endpoint)) == 7

    async def test_streams(self, model: Any, endpoint: Endpoint) -> None:
        from agents import Agent, Runner

        endpoint.server.script(TEXT)
        run = Runner.run_streamed(Agent("a", model=model), "Count")
        texts = [
            event.data.delta
            async for event in run.stream_events()
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
        ]
        assert "".join(texts) == TEXT == run.final_output

    async def test_schemas(self, model: Any, endpoint: Endpoint) -> None:
        from agents import Agent, Runner

        endpoint.server.script(CHUR)
        result = await Runner.run(Agent("a", model=model, output_type=City), "Which?")
        assert result.final_output == City(name="Chur", people=41000)

    async def test_errors(self, model: Any, endpoint: Endpoint) -> None:
        from agents import Agent, Runner

        model.model = "nothing"
        with pytest.raises(openai.NotFoundError, match="nothing"):
            await Runner.run(Agent("a", model=model), "Hello")


def _ask_langchain(endpoint: Endpoint) -> None:
    from langchain_openai import ChatOpenAI

    ChatOpenAI(model="auto", base_url=endpoint.base_url, api_key=endpoint.token, max_retries=0).invoke(
        "Hello"
    )


def _ask_litellm(endpoint: Endpoint) -> None:
    import litellm

    options: dict[str, Any] = {"api_base": endpoint.base_url, "api_key": endpoint.token, "max_retries": 0}
    litellm.completion(model="openai/auto", messages=ASK, num_retries=0, **options)


def _ask_pydantic_ai(endpoint: Endpoint) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = openai.AsyncOpenAI(base_url=endpoint.base_url, api_key=endpoint.token, max_retries=0)
    Agent(OpenAIChatModel("auto", provider=OpenAIProvider(openai_client=client))).run_sync("Hello")


@pytest.mark.parametrize("ask", [_ask_langchain, _ask_litellm, _ask_pydantic_ai])
def test_a_limit_is_told_as_one(ask: Callable[[Endpoint], None], endpoint: Endpoint) -> None:
    """Last: afterwards the model is left alone for a while."""
    endpoint.server.script(*[LIMITED] * 4)
    with pytest.raises(Exception) as limited:  # noqa: PT011 - each library has a class of its own
        ask(endpoint)
    assert limited.value.status_code == 429
