// Pictures, sounds and moderation with the `openai` SDK, and what they cost at the published prices.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { toFile } from 'openai';
import * as h from './harness.mjs';

const config = (upstream) => `
defaults: {retries: 0}
upstreams:
  - {name: scripted, provider: openai, base_url: "${upstream}/v1", credentials: [{name: k1, key: sk-upstream}], breaker: off, cooldown: off}
models:
  - {name: painter, targets: [{upstream: scripted, model: gpt-image-2}]}
  - {name: ears, targets: [{upstream: scripted, model: gpt-4o-transcribe}]}
users: [{name: alice, opening_credit: 100.00, policy: hard}]
keys: [{name: alice-key, user: alice, key: ${h.KEY}}]
`;
const upstream = await h.startUpstream();
const gateway = await h.startTollgate(upstream, config);
const client = h.openai(gateway.url, h.KEY);
const SOUND = Buffer.from('ID3\x04\x00\xff\xfb\x90\x64data: [DONE]\n\n\x00\xfe\xff', 'latin1');
const picture = () => toFile(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), 'a.png', { type: 'image/png' });
const recording = () => toFile(Buffer.alloc(16_000), 'a.webm');
const cost = ({ response }) => response.headers.get('x-tollgate-cost');

beforeEach(() => upstream.follow());

test('pictures from a text', async () => {
    const ask = { model: 'painter', prompt: 'a fox', n: 2 };
    const answer = await client.images.generate(ask).withResponse();
    assert.equal(answer.data.data.length, 2);
    // 12 × $5 + 7 × $30 per million
    assert.equal(cost(answer), '0.00027');
    const events = await h.all(await client.images.generate({ ...ask, stream: true, partial_images: 1 }));
    assert.deepEqual(events.map((event) => event.type), ['image_generation.partial_image', 'image_generation.completed']);
});

test('pictures from pictures', async () => {
    const ask = { model: 'painter', image: [await picture(), await picture()], prompt: 'a red fox' };
    const answer = await client.images.edit(ask).withResponse();
    assert.equal(cost(answer), '0.00027');
    assert.ok(answer.data.data[0].b64_json);
    const events = await h.all(await client.images.edit({ ...ask, stream: true }));
    assert.equal(events.at(-1).type, 'image_edit.completed');
});

test('speech', async () => {
    const spoken = await client.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'Grüße!' });
    assert.deepEqual(Buffer.from(await spoken.arrayBuffer()), SOUND);
    assert.equal(spoken.headers.get('content-type'), 'audio/mpeg');
});

test('transcription, whole and streamed', async () => {
    const answer = await client.audio.transcriptions.create({ model: 'ears', file: await recording() }).withResponse();
    assert.equal(answer.data.text, h.TEXT);
    // 12 × $2.50 + 7 × $10 per million
    assert.equal(cost(answer), '0.0001');
    const stream = await client.audio.transcriptions.create({ model: 'ears', file: await recording(), stream: true });
    const events = await h.all(stream);
    assert.equal(events.filter((event) => event.type === 'transcript.text.delta').map((event) => event.delta).join(''), h.TEXT);
    assert.equal(events.at(-1).usage.output_tokens, 7);
    const text = await client.audio.transcriptions.create({ model: 'whisper-1', file: await recording(), response_format: 'text' });
    assert.equal(text, `${h.TEXT}\n`);
});

test('moderation is free and needs no model', async () => {
    const answer = await client.moderations.create({ input: ['a', 'b'] }).withResponse();
    assert.equal(answer.data.results.length, 2);
    assert.equal(cost(answer), '0.00');
});

test('what the gateway refuses, the SDK understands', async () => {
    const file = await recording();
    await assert.rejects(client.audio.transcriptions.create({ model: 'nobodys', file }), { status: 404 });
    await upstream.follow({ cut: { at: { events: 1 }, how: 'close' } });
    const events = [];
    const stream = await client.images.generate({ model: 'painter', prompt: 'a fox', stream: true });
    await assert.rejects(h.all(stream, events), /broke off/);
    assert.equal(events.length, 1);
});
