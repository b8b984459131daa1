// Recorded provider traffic, and what a reader must find in it; the Python tests go through all of it, these take a few.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const FORMATS = ['openai-chat', 'openai-responses', 'anthropic-messages', 'gemini'];

function* above(folder) {
    yield folder;
    if (dirname(folder) !== folder) yield* above(dirname(folder));
}

/** Where the recordings are; nothing if there are none. */
export const folder =
    process.env.TOLLGATE_RECORDINGS ??
    [...above(dirname(fileURLToPath(import.meta.url)))].map((place) => join(place, 'shared', 'recordings')).find(existsSync);

// Providers that keep to the format: what the SDKs make of others' additions is no matter of ours.
const PROVIDERS = {
    'openai-chat': ['openai', 'azure', 'deepseek'],
    'openai-responses': ['openai', 'azure'],
    'anthropic-messages': ['anthropic'],
    gemini: ['gemini', 'vertex'],
};

/** The first recording of each kind of answer: plain or streamed, with text, tools, reasoning. */
export function some(format) {
    const kinds = new Map();
    for (const line of readFileSync(join(folder, `${format}.jsonl`), 'utf8').split('\n').filter(Boolean)) {
        const one = JSON.parse(line);
        const { expected, usage } = one;
        const ordinary = PROVIDERS[format].includes(one.provider) && one.response.status === 200 && expected.stop && expected.stop !== 'other' && usage && usage.cached <= usage.input;
        if (!ordinary || expected.native.length || expected.choices > 1 || expected.text === null || expected.tool_calls.some((call) => !call.name)) continue;
        const kind = [one.has_stream, Boolean(expected.text), expected.tool_calls.length, Boolean(expected.thinking)].join();
        if (!kinds.has(kind)) kinds.set(kind, one);
    }
    return [...kinds.values()];
}

/** The answer as the scripted upstream gives it. */
export function reply({ has_stream, response }) {
    let body = response.body.text;
    const array = has_stream && body.trimStart().startsWith('[');
    if (array) body = JSON.parse(body).map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('');
    const kind = has_stream ? 'text/event-stream' : 'application/json';
    return { raw: { status: response.status, headers: [['content-type', kind]], body: { text: body } } };
}
