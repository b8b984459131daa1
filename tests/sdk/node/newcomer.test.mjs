// A newcomer's first minute in Node: no configuration, the printed key, both SDKs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import * as h from './harness.mjs';

const PROMPT = 'a purple giraffe';
const gateway = await h.startTollgate();
const key = gateway.printedKey();
const openai = h.openai(gateway.url, key);
const anthropic = h.anthropic(gateway.url, key);
const chat = { model: 'demo', messages: h.user(PROMPT) };
const message = { model: 'demo', max_tokens: 200, messages: h.user(PROMPT) };

test('openai: answer and stream', async () => {
    const answer = await openai.chat.completions.create(chat);
    assert.ok(answer.choices[0].message.content.includes(PROMPT));
    const chunks = await h.all(await openai.chat.completions.create({ ...chat, stream: true }));
    assert.ok(chunks.length > 2);
    assert.ok(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('').includes(PROMPT));
});

test('openai: tool call', async () => {
    const answer = await openai.chat.completions.create({ ...chat, tools: [h.OPENAI_TOOL] });
    assert.equal(answer.choices[0].message.tool_calls[0].function.name, 'get_weather');
});

test('openai: Responses', async () => {
    const answer = await openai.responses.create({ model: 'demo', input: PROMPT });
    assert.ok(answer.output_text.includes(PROMPT));
    const events = await h.all(await openai.responses.create({ model: 'demo', input: PROMPT, stream: true }));
    assert.equal(events.at(-1).type, 'response.completed');
});

test('openai: embeddings and models', async () => {
    const ids = (await h.all(openai.models.list())).map((model) => model.id);
    assert.ok(ids.includes('demo'), ids.join());
    const model = ids.find((id) => id.includes('embed')) ?? 'demo';
    const answer = await openai.embeddings.create({ model, input: ['a', 'b'] });
    assert.equal(answer.data.length, 2);
    assert.ok(answer.data[0].embedding.length > 1);
});

test('anthropic: answer, stream, tool call, tokens', async () => {
    const answer = await anthropic.messages.create(message);
    assert.ok(answer.content[0].text.includes(PROMPT));
    const streamed = await anthropic.messages.stream(message).finalMessage();
    assert.ok(streamed.content[0].text.includes(PROMPT));
    const tool = await anthropic.messages.stream({ ...message, tools: [h.ANTHROPIC_TOOL] }).finalMessage();
    assert.deepEqual([tool.stop_reason, tool.content.at(-1).name], ['tool_use', 'get_weather']);
    const { input_tokens } = await anthropic.messages.countTokens({ model: 'demo', messages: h.user(PROMPT) });
    assert.ok(input_tokens > 0);
});

test('a wrong key and a model that is not there', async () => {
    await assert.rejects(h.openai(gateway.url, h.WRONG_KEY).chat.completions.create(chat), OpenAI.AuthenticationError);
    await assert.rejects(h.anthropic(gateway.url, h.WRONG_KEY).messages.create(message), Anthropic.AuthenticationError);
    await assert.rejects(openai.chat.completions.create({ ...chat, model: 'no-such-model' }), OpenAI.NotFoundError);
    await assert.rejects(anthropic.messages.create({ ...message, model: 'no-such-model' }), Anthropic.NotFoundError);
});
