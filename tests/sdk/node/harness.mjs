// The real binary and the scripted upstream as processes, and SDK clients as a user makes them. Forms of scripts and
// requests are those of `testkit::upstream`.

import { spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

// Far above what a start takes (the aim is 100 ms): a debug build may share the machine with a compiler.
const READY_MAX_MS = 30_000;
const EXIT_MAX_MS = 30_000;
// The SDKs' own default of ten minutes would let one hanging call hang the suite.
const TIMEOUT_MS = 30_000;

export const TEXT = 'Hello from the scripted upstream.';
export const KEY = 'sk-tg-sdk-alice-0123456789abcdef0123456789';
export const BROKE_KEY = 'sk-tg-sdk-broke-0123456789abcdef0123456789';
export const WRONG_KEY = 'sk-tg-sdk-nobody-0123456789abcdef0123456789';
// Each allows one call a minute, so each test that wants a 429 has its own.
export const limitedKey = (of) => `sk-tg-sdk-limited-${of}-0123456789abcdef`;

const config = (upstream) => `
defaults: {retries: 0}
upstreams:
  - {name: scripted-openai, provider: openai, base_url: "${upstream}/v1", credentials: [{name: k1, key: sk-upstream-openai}], models: ["gpt-*", "text-embedding-*"], breaker: off, cooldown: off}
  - {name: scripted-anthropic, provider: anthropic, base_url: "${upstream}/v1", credentials: [{name: k1, key: sk-upstream-anthropic}], models: ["claude-*"], breaker: off, cooldown: off}
models:
  - {name: smart-openai, targets: [{upstream: scripted-openai, model: gpt-4o-mini}], price: {input: 1000.00, output: 2000.00}}
  - {name: smart-anthropic, targets: [{upstream: scripted-anthropic, model: claude-opus-4-6}], price: {input: 1000.00, output: 2000.00}}
users:
  - {name: alice, opening_credit: 1000.00, policy: soft}
  - {name: broke, policy: hard}
keys:
  - {name: alice-key, user: alice, key: ${KEY}}
  - {name: broke-key, user: broke, key: ${BROKE_KEY}}
${['openai', 'anthropic'].map((of) => `  - {name: limited-${of}, user: alice, key: ${limitedKey(of)}, limits: {rpm: 1}}`).join('\n')}
`;

/** A tool in the form of each SDK. */
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
export const OPENAI_TOOL = { type: 'function', function: { name: 'get_weather', description: 'Weather.', parameters } };
export const RESPONSES_TOOL = { type: 'function', name: 'get_weather', description: 'Weather.', parameters, strict: false };
export const ANTHROPIC_TOOL = { name: 'get_weather', description: 'Weather.', input_schema: parameters };

export const user = (text) => [{ role: 'user', content: text }];

/** All of an async iterable; what came before an error is in `into`. */
export async function all(iterable, into = []) {
    for await (const item of iterable) into.push(item);
    return into;
}

/** `fetch` that keeps the bodies sent. */
export function recording(sent) {
    return (url, init) => {
        sent.push(init?.body?.toString());
        return fetch(url, init);
    };
}

export const openai = (url, key, more = {}) =>
    new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0, timeout: TIMEOUT_MS, ...more });
export const anthropic = (url, key, more = {}) =>
    new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0, timeout: TIMEOUT_MS, ...more });

/** Starts the scripted upstream; it ends with the tests of this file. */
export async function startUpstream() {
    const child = spawn(process.env.SCRIPTED_UPSTREAM_BIN, { stdio: ['pipe', 'pipe', 'inherit'] });
    const url = await new Promise((resolve, reject) => {
        child.stdout.once('data', (line) => resolve(line.toString().trim()));
        child.once('error', reject);
    });
    after(() => child.stdin.end());
    const control = async (method, path, body) => {
        const answer = await fetch(url + path, { method, body: body && JSON.stringify(body) });
        if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`);
        return answer.json();
    };
    return {
        url,
        /** From now on every call meets this behaviour, and what was received so far is forgotten. */
        async follow(behaviour = {}) {
            await control('POST', '/__script', { default: behaviour });
            await control('DELETE', '/__received');
        },
        /** From now on calls meet the first of these rules that fits them. */
        rules: (rules) => control('POST', '/__script', { rules }),
        /** What came since then, without lists of models: a gateway may ask for them by itself. */
        async received() {
            const { calls } = await control('GET', '/__received');
            return calls.filter((call) => call.method !== 'GET').map((call) => ({ ...call, body: call.body.text }));
        },
    };
}

/** Starts a gateway in front of `upstream`, or without configuration; it ends with the tests of this file. */
export async function startTollgate(upstream, configured = config) {
    const dir = mkdtempSync(join(tmpdir(), 'tollgate-sdk-'));
    if (upstream) writeFileSync(join(dir, 'tollgate.yaml'), configured(upstream.url));
    const port = await freePort();
    // An `OPENAI_API_KEY` of the developer must not become an upstream.
    const env = { PATH: process.env.PATH, HOME: dir, TOLLGATE_SERVER__LISTEN: `127.0.0.1:${port}` };
    const log = join(dir, 'output.log');
    const file = openSync(log, 'a');
    const child = spawn(process.env.TOLLGATE_BIN, ['serve'], { cwd: dir, env, stdio: ['ignore', file, file] });
    const exited = new Promise((resolve) => child.once('exit', resolve));
    after(async () => {
        child.kill('SIGTERM');
        const timer = setTimeout(() => child.kill('SIGKILL'), EXIT_MAX_MS);
        await exited;
        clearTimeout(timer);
        rmSync(dir, { recursive: true });
    });
    const url = `http://127.0.0.1:${port}`;
    const deadline = Date.now() + READY_MAX_MS;
    while (!(await isReady(url))) {
        if (child.exitCode !== null || Date.now() > deadline) {
            throw new Error(`tollgate did not become ready:\n${readFileSync(log, 'utf8').slice(-4000)}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const printedKey = () => readFileSync(log, 'utf8').match(/sk-tg-[\w-]+/)?.[0];
    return { url, printedKey };
}

async function isReady(url) {
    try {
        const answer = await fetch(`${url}/readyz`);
        await answer.arrayBuffer();
        return answer.status === 200;
    } catch {
        return false;
    }
}

function freePort() {
    return new Promise((resolve) => {
        const server = createServer();
        server.listen(0, '127.0.0.1', () => {
            const { port } = server.address();
            server.close(() => resolve(port));
        });
    });
}
