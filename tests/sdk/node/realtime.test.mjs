// The realtime clients of the `openai` SDK, through a gateway in front of an upstream whose every event is known: the one
// for Node with its headers, and the one for browsers with its key among the subprotocols.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { beforeEach, test } from 'node:test';
import { WebSocket } from 'ws';
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import * as h from './harness.mjs';

const upstream = await h.startUpstream();
const gateway = await h.startTollgate(upstream);

// The SDK always asks for TLS, which is somebody else's work in front of a gateway: its library may connect without.
const { hostname, port } = new URL(gateway.url);
const options = { createConnection: () => connect(Number(port), hostname) };
const ofNode = (key) => new OpenAIRealtimeWS({ model: 'gpt-realtime', options }, h.openai(gateway.url, key));

const say = (event) => ({ say: JSON.stringify(event) });
const response = (status, usage) => ({ object: 'realtime.response', id: 'resp_1', status, output: [], usage });
const TURNS = [
    say({ type: 'session.created', event_id: 'e1', session: { type: 'realtime', id: 'sess_1', model: 'gpt-realtime' } }),
    { hear: 'response.create' },
    say({ type: 'response.created', event_id: 'e2', response: response('in_progress', null) }),
    say({ type: 'response.output_text.delta', event_id: 'e3', response_id: 'resp_1', item_id: 'i1', output_index: 0, content_index: 0, delta: 'Grüezi 👋' }),
    say({ type: 'response.done', event_id: 'e4', response: response('completed', { total_tokens: 9, input_tokens: 5, output_tokens: 4 }) }),
];

beforeEach(() => upstream.follow({ reply: { talk: { protocol: 'realtime', turns: TURNS } } }));

async function talk(realtime) {
    const seen = [];
    await new Promise((resolve, reject) => {
        realtime.on('error', reject);
        realtime.on('event', (event) => seen.push(event));
        realtime.on('session.created', () => realtime.send({ type: 'response.create' }));
        realtime.on('response.done', resolve);
    });
    realtime.close();
    assert.deepEqual(seen.map((event) => event.type), ['session.created', 'response.created', 'response.output_text.delta', 'response.done']);
    assert.equal(seen[2].delta, 'Grüezi 👋');
    assert.equal(seen[3].response.usage.output_tokens, 4);
}

test('a session of the client for Node', async () => {
    upstream.follow({ reply: { talk: { turns: TURNS } } });
    await talk(ofNode(h.KEY));
});

test('a session of the client for browsers', async () => {
    globalThis.WebSocket ??= WebSocket;
    const client = h.openai(gateway.url, h.KEY, { dangerouslyAllowBrowser: true });
    await talk(new OpenAIRealtimeWebSocket({ model: 'gpt-realtime', onURL: (url) => (url.protocol = 'ws') }, client));
});

test('an unknown key is refused at the handshake', async () => {
    const realtime = ofNode(h.WRONG_KEY);
    const error = await new Promise((resolve) => realtime.on('error', resolve));
    assert.match(error.message, /401/);
});
