// The `openai` SDK in front of an upstream whose every word is known.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import OpenAI from 'openai';
import * as h from './harness.mjs';

const upstream = await h.startUpstream();
const gateway = await h.startTollgate(upstream);
const client = h.openai(gateway.url, h.KEY);
const ARGUMENTS = { city: 'Zürich' };
const TOOL_CALL = { pieces: [], tool_calls: [{ id: 'call_tk_0', name: 'get_weather', arguments: ARGUMENTS }] };

beforeEach(() => upstream.follow());

for (const model of ['gpt-4o-mini', 'smart-openai']) {
    test(`answer of ${model}`, async () => {
        const answer = await client.chat.completions.create({ model, messages: h.user('hi') });
        assert.equal(answer.choices[0].message.content, h.TEXT);
        assert.deepEqual([answer.usage.prompt_tokens, answer.usage.completion_tokens], [12, 7]);
    });

    test(`stream of ${model}`, async () => {
        const chunks = await h.all(await client.chat.completions.create({ model, messages: h.user('hi'), stream: true }));
        assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join(''), h.TEXT);
        assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
        assert.ok(chunks.every((chunk) => !chunk.usage));
    });

    test(`Responses of ${model}`, async () => {
        const answer = await client.responses.create({ model, input: 'hi' });
        assert.deepEqual([answer.output_text, answer.status, answer.usage.output_tokens], [h.TEXT, 'completed', 7]);
        const events = await h.all(await client.responses.create({ model, input: 'hi', stream: true }));
        assert.equal(events.at(-1).type, 'response.completed');
        const deltas = events.filter((event) => event.type === 'response.output_text.delta');
        assert.equal(deltas.map((event) => event.delta).join(''), h.TEXT);
    });
}

test('usage in a stream, when asked for', async () => {
    const ask = { model: 'smart-openai', messages: h.user('hi'), stream: true, stream_options: { include_usage: true } };
    const chunks = await h.all(await client.chat.completions.create(ask));
    assert.equal(chunks.at(-1).usage.completion_tokens, 7);
    assert.equal(chunks.filter((chunk) => chunk.usage).length, 1);
});

test('tool call, whole and streamed', async () => {
    await upstream.follow({ reply: { answer: TOOL_CALL } });
    const ask = { model: 'smart-openai', messages: h.user('weather?'), tools: [h.OPENAI_TOOL] };
    const answer = await client.chat.completions.create(ask);
    assert.equal(answer.choices[0].finish_reason, 'tool_calls');
    assert.deepEqual(JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments), ARGUMENTS);
    const final = await client.chat.completions.stream(ask).finalChatCompletion();
    assert.deepEqual(JSON.parse(final.choices[0].message.tool_calls[0].function.arguments), ARGUMENTS);
    const response = await client.responses.create({ model: 'smart-openai', input: 'weather?', tools: [h.RESPONSES_TOOL] });
    assert.deepEqual(JSON.parse(response.output.find((item) => item.type === 'function_call').arguments), ARGUMENTS);
});

test('embeddings', async () => {
    const answer = await client.embeddings.create({ model: 'text-embedding-3-small', input: ['a', 'b'] });
    assert.deepEqual(answer.data.map((item) => item.embedding[0]), [0.25, 0.5]);
});

test('models', async () => {
    const ids = (await h.all(client.models.list())).map((model) => model.id);
    assert.ok(ids.includes('smart-openai') && ids.includes('smart-anthropic'), ids.join());
});

test('the upstream gets the bytes that the SDK sent, but for the model', async () => {
    const sent = [];
    const client = h.openai(gateway.url, h.KEY, { fetch: h.recording(sent) });
    await client.chat.completions.create({ model: 'gpt-4o-mini', messages: h.user('Grüße 🙂'), tools: [h.OPENAI_TOOL] });
    await client.responses.create({ model: 'smart-openai', input: 'hi', stream: true }).then(h.all);
    const got = (await upstream.received()).map((call) => call.body);
    assert.deepEqual(got, [sent[0], sent[1].replace('"smart-openai"', '"gpt-4o-mini"')]);
    assert.notEqual(got[1], sent[1]);
});

async function refused(kind, status, code, call) {
    await assert.rejects(call, (error) => {
        assert.equal(error.constructor, kind, `${error}`);
        assert.deepEqual([error.status, error.code], [status, code]);
        assert.deepEqual(Object.keys(error.error).sort(), ['code', 'message', 'param', 'type']);
        assert.ok(error.requestID);
        return true;
    });
}

const chat = (key, model = 'smart-openai') => h.openai(gateway.url, key).chat.completions.create({ model, messages: h.user('hi') });

test('401, 402 and 404', async () => {
    await refused(OpenAI.AuthenticationError, 401, 'invalid_api_key', chat(h.WRONG_KEY));
    await refused(OpenAI.APIError, 402, 'insufficient_balance', chat(h.BROKE_KEY));
    await refused(OpenAI.NotFoundError, 404, 'model_not_found', chat(h.KEY, 'no-such-model'));
    assert.equal((await upstream.received()).length, 0);
});

test('429', async () => {
    await chat(h.limitedKey('openai'));
    await refused(OpenAI.RateLimitError, 429, 'rate_limit_exceeded', chat(h.limitedKey('openai')));
});

for (const [name, fault] of Object.entries({
    'tells an error': { edits: [{ error: 5 }] },
    'is reset': { cut: { at: { events: 5 }, how: 'reset' } },
    'ends as if whole': { cut: { at: { events: 5 }, how: 'end' } },
})) {
    test(`a stream that ${name} is no answer`, async () => {
        await upstream.follow(fault);
        const chunks = [];
        const ask = { model: 'smart-openai', messages: h.user('hi'), stream: true };
        await assert.rejects(async () => h.all(await client.chat.completions.create(ask), chunks), (error) => {
            assert.equal(error.constructor, OpenAI.APIError, `${error}`);
            return true;
        });
        assert.ok(chunks.every((chunk) => !chunk.choices[0].finish_reason));
        const events = await h.all(await client.responses.create({ model: 'smart-openai', input: 'hi', stream: true })).catch((error) => [error]);
        const last = events.at(-1);
        assert.ok(last.constructor === OpenAI.APIError || ['error', 'response.failed'].includes(last.type), `${last.type ?? last}`);
    });
}
