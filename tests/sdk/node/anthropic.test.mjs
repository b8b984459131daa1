// The `@anthropic-ai/sdk` in front of an upstream whose every word is known.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import * as h from './harness.mjs';

const upstream = await h.startUpstream();
const gateway = await h.startTollgate(upstream);
const client = h.anthropic(gateway.url, h.KEY);
const ARGUMENTS = { city: 'Zürich' };

beforeEach(() => upstream.follow());

for (const model of ['claude-opus-4-6', 'smart-anthropic']) {
    const ask = { model, max_tokens: 100, messages: h.user('hi') };

    test(`answer of ${model}`, async () => {
        const answer = await client.messages.create(ask);
        assert.deepEqual([answer.content[0].text, answer.stop_reason, answer.usage.output_tokens], [h.TEXT, 'end_turn', 7]);
    });

    test(`stream of ${model}`, async () => {
        const final = await client.messages.stream(ask).finalMessage();
        assert.deepEqual([final.content[0].text, final.usage.input_tokens, final.usage.output_tokens], [h.TEXT, 12, 7]);
    });

    test(`tokens counted by ${model}`, async () => {
        const { input_tokens } = await client.messages.countTokens({ model, messages: h.user('hi') });
        assert.equal(input_tokens, 12);
    });
}

test('tool call, whole and streamed', async () => {
    await upstream.follow({ reply: { answer: { pieces: [], tool_calls: [{ id: 'toolu_0', name: 'get_weather', arguments: ARGUMENTS }] } } });
    const ask = { model: 'smart-anthropic', max_tokens: 100, messages: h.user('weather?'), tools: [h.ANTHROPIC_TOOL] };
    for (const answer of [await client.messages.create(ask), await client.messages.stream(ask).finalMessage()]) {
        assert.equal(answer.stop_reason, 'tool_use');
        assert.deepEqual(answer.content[0].input, ARGUMENTS);
    }
});

test('models', async () => {
    const ids = (await h.all(client.models.list())).map((model) => model.id);
    assert.ok(ids.includes('smart-anthropic'), ids.join());
});

test('the upstream gets the bytes that the SDK sent, but for the model', async () => {
    const sent = [];
    const client = h.anthropic(gateway.url, h.KEY, { fetch: h.recording(sent) });
    await client.messages.create({ model: 'claude-opus-4-6', max_tokens: 9, messages: h.user('Grüße 🙂') });
    await client.messages.stream({ model: 'smart-anthropic', max_tokens: 9, messages: h.user('hi') }).finalMessage();
    const got = (await upstream.received()).map((call) => call.body);
    assert.deepEqual(got, [sent[0], sent[1].replace('"smart-anthropic"', '"claude-opus-4-6"')]);
    assert.notEqual(got[1], sent[1]);
});

async function refused(kind, status, type, call) {
    await assert.rejects(call, (error) => {
        assert.equal(error.constructor, kind, `${error}`);
        assert.equal(error.status, status);
        assert.deepEqual([error.error.type, error.error.error.type], ['error', type]);
        assert.ok(error.error.request_id);
        return true;
    });
}

const message = (key, model = 'smart-anthropic') =>
    h.anthropic(gateway.url, key).messages.create({ model, max_tokens: 9, messages: h.user('hi') });

test('401, 402 and 404', async () => {
    await refused(Anthropic.AuthenticationError, 401, 'authentication_error', message(h.WRONG_KEY));
    await refused(Anthropic.PaymentRequiredError, 402, 'billing_error', message(h.BROKE_KEY));
    await refused(Anthropic.NotFoundError, 404, 'not_found_error', message(h.KEY, 'no-such-model'));
    assert.equal((await upstream.received()).length, 0);
});

test('429', async () => {
    await message(h.limitedKey('anthropic'));
    await refused(Anthropic.RateLimitError, 429, 'rate_limit_error', message(h.limitedKey('anthropic')));
});

for (const [name, fault] of Object.entries({
    'tells an error': { edits: [{ error: 5 }] },
    'is reset': { cut: { at: { events: 5 }, how: 'reset' } },
    'ends as if whole': { cut: { at: { events: 5 }, how: 'end' } },
})) {
    test(`a stream that ${name} is no answer`, async () => {
        await upstream.follow(fault);
        const stream = client.messages.stream({ model: 'smart-anthropic', max_tokens: 100, messages: h.user('hi') });
        await assert.rejects(stream.finalMessage(), (error) => {
            assert.ok(error instanceof Anthropic.APIError, `${error}`);
            assert.equal(error.error?.type, 'error', `${error}`);
            return true;
        });
    });
}
