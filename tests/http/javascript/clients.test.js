// The official JavaScript clients, unmodified, against the endpoint. The model behind it follows the
// script of tests/http/test_javascript.py: a prompt's first word says what becomes of it.
import assert from "node:assert/strict";
import test from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { Ollama } from "ollama";
import OpenAI from "openai";

const url = process.env.ENDPOINT_URL;
const token = process.env.ENDPOINT_TOKEN;
const model = "auto";
const weather = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

const openai = (more = {}) => new OpenAI({ baseURL: `${url}/v1`, apiKey: token, maxRetries: 0, ...more });
const anthropic = (more = {}) => new Anthropic({ baseURL: url, apiKey: token, maxRetries: 0, ...more });
const ollama = () => new Ollama({ host: url, headers: { Authorization: `Bearer ${token}` } });
const ask = (content) => [{ role: "user", content }];

const gather = async (stream) => {
  const result = [];
  for await (const one of stream) result.push(one);
  return result;
};

test("openai: a completion at once and streamed, with its usage", async () => {
  const done = await openai().chat.completions.create({ model, messages: ask("echo me") });
  assert.equal(done.choices[0].message.content, "echo me");
  assert.equal(done.choices[0].finish_reason, "stop");
  assert.equal(done.model, "openai:small");
  const stream = await openai().chat.completions.create({
    model, messages: ask("echo me too"), stream: true, stream_options: { include_usage: true },
  });
  const chunks = await gather(stream);
  assert.equal(chunks.map((one) => one.choices[0]?.delta.content ?? "").join(""), "echo me too");
  assert.ok(chunks.at(-1).usage.total_tokens > 0);
});

test("openai: parallel tool calls, gathered by the client itself", async () => {
  const tools = [{ type: "function", function: { name: "weather", parameters: weather } }];
  const runner = openai().chat.completions.stream({ model, messages: ask("tools please"), tools });
  const { message, finish_reason: reason } = (await runner.finalChatCompletion()).choices[0];
  assert.equal(reason, "tool_calls");
  assert.deepEqual(message.tool_calls.map((call) => JSON.parse(call.function.arguments)), [
    { city: "Oslo" }, { city: "Rome" },
  ]);
  const results = message.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "snow" }));
  const done = await openai().chat.completions.create({
    model, messages: [...ask("tools please"), message, ...results], tools,
  });
  assert.equal(done.choices[0].message.content, "It snows.");
});

test("openai: a response, its events and what the client makes of them", async () => {
  const stream = openai().responses.stream({ model, input: "think of four" });
  const kinds = (await gather(stream)).map((event) => event.type);
  assert.equal(kinds[0], "response.created");
  assert.equal(kinds.at(-1), "response.completed");
  const final = await stream.finalResponse();
  assert.equal(final.output_text, "Four.");
  assert.deepEqual(final.output.map((item) => item.type), ["reasoning", "message"]);
});

test("openai: embeddings, which the client asks for in base64", async () => {
  const made = await openai().embeddings.create({ model: "openai:vectors", input: ["a cat", "a dog"] });
  assert.equal(made.data.length, 2);
  assert.ok(Math.abs(Math.hypot(...made.data[0].embedding) - 1) < 1e-6);
});

test("openai: errors are the client's own", async () => {
  const one = (more, messages = ask("echo")) => openai(more).chat.completions.create({ model, messages });
  await assert.rejects(one({ apiKey: "wrong" }), OpenAI.AuthenticationError);
  await assert.rejects(openai().chat.completions.create({ model: "nobody", messages: ask("x") }), OpenAI.NotFoundError);
  await assert.rejects(one({}, []), (error) => error instanceof OpenAI.BadRequestError && error.param === "messages");
  await assert.rejects(one({}, ask("limit me")), (error) =>
    error instanceof OpenAI.RateLimitError && Number(error.headers.get("retry-after")) > 0);
  await assert.rejects(one({}, ask("overflow now")), (error) => error.code === "context_length_exceeded");
  const broken = await openai().chat.completions.create({ model, messages: ask("break off here"), stream: true });
  await assert.rejects(gather(broken), OpenAI.APIError);
});

test("openai: many at once, and one that is aborted", async () => {
  const words = Array.from({ length: 16 }, (_, number) => `echo ${number}`);
  const done = await Promise.all(words.map((word) => openai().chat.completions.create({ model, messages: ask(word) })));
  assert.deepEqual(done.map((one) => one.choices[0].message.content), words);
  const stream = await openai().chat.completions.create({ model, messages: ask("hang on"), stream: true });
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
  assert.ok(stream.controller.signal.aborted);
});

test("anthropic: a message at once and streamed", async () => {
  const done = await anthropic().messages.create({ model, max_tokens: 100, messages: ask("echo me") });
  assert.deepEqual(done.content.map((block) => block.text), ["echo me"]);
  assert.equal(done.stop_reason, "end_turn");
  const stream = anthropic().messages.stream({ model, max_tokens: 100, messages: ask("think of four") });
  const kinds = new Set((await gather(stream)).map((event) => event.type));
  assert.ok(kinds.has("message_start") && kinds.has("message_stop"));
  const final = await stream.finalMessage();
  assert.deepEqual(final.content.map((block) => block.type), ["thinking", "text"]);
  assert.equal(final.content[1].text, "Four.");
});

test("anthropic: tool calls go there and back", async () => {
  const tools = [{ name: "weather", input_schema: weather }];
  const stream = anthropic().messages.stream({ model, max_tokens: 100, messages: ask("tools please"), tools });
  const message = await stream.finalMessage();
  assert.equal(message.stop_reason, "tool_use");
  const calls = message.content.filter((block) => block.type === "tool_use");
  assert.deepEqual(calls.map((call) => call.input), [{ city: "Oslo" }, { city: "Rome" }]);
  const results = calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: "snow" }));
  const messages = [...ask("tools please"), { role: "assistant", content: message.content }, { role: "user", content: results }];
  const done = await anthropic().messages.create({ model, max_tokens: 100, messages, tools });
  assert.equal(done.content[0].text, "It snows.");
});

test("anthropic: tokens are counted, and errors are the client's own", async () => {
  const counted = await anthropic().messages.countTokens({ model, messages: ask("one two three") });
  assert.ok(counted.input_tokens > 0);
  const one = (content, more) => anthropic(more).messages.create({ model, max_tokens: 9, messages: ask(content) });
  await assert.rejects(one("x", { apiKey: "wrong" }), Anthropic.AuthenticationError);
  await assert.rejects(one("overflow now"), /prompt is too long/);
  await assert.rejects(one("limit me"), Anthropic.RateLimitError);
  const broken = anthropic().messages.stream({ model, max_tokens: 9, messages: ask("break off here") });
  await assert.rejects(broken.finalMessage(), Anthropic.APIError);
});

test("ollama: chats, lists, vectors and errors", async () => {
  const done = await ollama().chat({ model, messages: ask("echo me") });
  assert.equal(done.message.content, "echo me");
  const pieces = await gather(await ollama().chat({ model, messages: ask("echo me too"), stream: true }));
  assert.equal(pieces.map((one) => one.message.content).join(""), "echo me too");
  assert.ok(pieces.at(-1).done);
  const tools = [{ type: "function", function: { name: "weather", parameters: weather } }];
  const called = await ollama().chat({ model, messages: ask("tools please"), tools });
  assert.deepEqual(called.message.tool_calls.map((call) => call.function.arguments.city), ["Oslo", "Rome"]);
  assert.equal((await ollama().generate({ model, prompt: "echo this" })).response, "echo this");
  assert.ok((await ollama().list()).models.some((one) => one.name === "auto"));
  assert.equal((await ollama().embed({ model: "openai:vectors", input: ["a cat", "a dog"] })).embeddings.length, 2);
  await assert.rejects(ollama().chat({ model: "nobody", messages: ask("x") }), /no model/);
  const broken = await ollama().chat({ model, messages: ask("break off here"), stream: true });
  await assert.rejects(gather(broken), /broke off/);
});

test("ollama: an answer that is aborted", async () => {
  const client = ollama();
  const stream = await client.chat({ model, messages: ask("hang on"), stream: true });
  await assert.rejects(async () => {
    for await (const piece of stream) if (piece.message.content) client.abort();
  }, { name: "AbortError" });
});
