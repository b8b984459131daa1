// Recorded answers of each format, asked for with the Node SDKs of the others: the official ones, and Vercel's `ai`.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogleGenerativeAI } from '@ai-sdk/google';
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, streamText } from 'ai';
import * as h from './harness.mjs';
import * as recordings from './recordings.mjs';

const PATHS = {
    'openai-chat': '/v1/chat/completions',
    'openai-responses': '/v1/responses',
    'anthropic-messages': '/v1/messages',
    gemini: '/v1beta/models/{model}:{method}',
};
// An upstream of each format alone: of a provider that speaks more it would be asked in the client's own.
const each = (line) => recordings.FORMATS.map(line).join('\n');
const config = (upstream) => `
defaults: {retries: 0}
providers:
${each((format) => `  - {name: only-${format}, base_url: "${upstream}", surfaces: {chat: {${format.replace('-', '_')}: "${PATHS[format]}"}}}`)}
upstreams:
${each((format) => `  - {name: of-${format}, provider: only-${format}, credentials: [{name: k1, key: k}], breaker: off, cooldown: off, models: ["*"]}`)}
users: [{name: alice, policy: unlimited}]
keys: [{name: alice-key, user: alice, key: ${h.KEY}}]
`;

const upstream = await h.startUpstream();
const { url } = await h.startTollgate(upstream, config);
const openai = h.openai(url, h.KEY);
const anthropic = h.anthropic(url, h.KEY);
const vercel = {
    openai: createOpenAI({ baseURL: `${url}/v1`, apiKey: h.KEY }),
    anthropic: createAnthropic({ baseURL: `${url}/v1`, apiKey: h.KEY }),
    google: createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey: h.KEY }),
};

const prompt = (recording) => `answer as in recording ${recording.id}`;
const call = (id, name, args) => ({ id, name, args });

/** What each client says of an answer: text, reasoning where it reads any, calls of tools, why it stopped, and tokens. */
const CLIENTS = {
    'openai chat': async (model, text, stream) => {
        const ask = { model, messages: h.user(text) };
        const answer = stream
            ? await openai.chat.completions.stream({ ...ask, stream_options: { include_usage: true } }).finalChatCompletion()
            : await openai.chat.completions.create(ask);
        const [{ message, finish_reason }] = answer.choices;
        return {
            text: message.content ?? '',
            calls: (message.tool_calls ?? []).map((one) => call(one.id, one.function.name, JSON.parse(one.function.arguments))),
            stop: { tool_calls: 'tool', content_filter: 'filter' }[finish_reason] ?? finish_reason,
            tokens: [answer.usage.prompt_tokens, answer.usage.completion_tokens],
        };
    },
    'openai responses': async (model, text, stream) => {
        const ask = { model, input: text };
        const answer = stream ? await openai.responses.stream(ask).finalResponse() : await openai.responses.create(ask);
        const calls = answer.output.filter((item) => item.type === 'function_call');
        const stops = { completed: calls.length ? 'tool' : 'stop', incomplete: { max_output_tokens: 'length', content_filter: 'filter' }[answer.incomplete_details?.reason] };
        return {
            text: answer.output_text,
            calls: calls.map((one) => call(one.call_id, one.name, JSON.parse(one.arguments))),
            stop: stops[answer.status],
            tokens: [answer.usage.input_tokens, answer.usage.output_tokens],
        };
    },
    anthropic: async (model, text, stream) => {
        const ask = { model, max_tokens: 1024, messages: h.user(text) };
        const answer = stream ? await anthropic.messages.stream(ask).finalMessage() : await anthropic.messages.create(ask);
        const of = (type) => answer.content.filter((block) => block.type === type);
        const { input_tokens, cache_read_input_tokens: read, cache_creation_input_tokens: written, output_tokens } = answer.usage;
        return {
            text: of('text').map((block) => block.text).join(''),
            thinking: of('thinking').map((block) => block.thinking).join(''),
            calls: of('tool_use').map((block) => call(block.id, block.name, block.input)),
            stop: { end_turn: 'stop', stop_sequence: 'stop', max_tokens: 'length', tool_use: 'tool', refusal: 'filter' }[answer.stop_reason],
            tokens: [input_tokens + (read ?? 0) + (written ?? 0), output_tokens],
        };
    },
    'ai: chat': (model, text, stream) => withAi(vercel.openai.chat(model), text, stream),
    'ai: responses': (model, text, stream) => withAi(vercel.openai.responses(model), text, stream),
    'ai: anthropic': (model, text, stream) => withAi(vercel.anthropic(model), text, stream),
    // It takes a name with a slash for a whole path.
    'ai: google': (model, text, stream) => withAi(vercel.google(`models/${model}`), text, stream),
};
const READS_THINKING = ['anthropic', 'ai: anthropic', 'ai: google', 'ai: responses'];

async function withAi(model, text, stream) {
    const ask = { model, prompt: text, maxRetries: 0, onError: () => {} };
    const answer = stream ? streamText(ask) : await generateText(ask);
    const { inputTokens, outputTokens } = await answer.usage;
    const reason = await answer.finishReason;
    return {
        text: await answer.text,
        thinking: (await answer.reasoning).map((part) => part.text).join(''),
        calls: (await answer.toolCalls).map((one) => call(one.toolCallId, one.toolName, one.input)),
        stop: { 'tool-calls': 'tool', 'content-filter': 'filter' }[reason] ?? reason,
        tokens: [inputTokens, outputTokens],
    };
}

/** What the recording says in the same form. Ids that the provider did not give are the gateway's own business. */
function recorded({ expected, usage }, client, said) {
    const ids = said.calls.map((one) => one.id);
    const calls = expected.tool_calls.map(({ id, name, args }, at) => call(id || ids[at], name, args));
    const told = { text: expected.text, calls, stop: expected.stop, tokens: [usage.input, usage.output] };
    return READS_THINKING.includes(client) ? { ...told, thinking: squeezed(expected.thinking ?? '') } : told;
}

/** What a client says, without the reasoning that it has no field for. */
function compared({ thinking, ...said }, client) {
    return READS_THINKING.includes(client) ? { ...said, thinking: squeezed(thinking) } : said;
}

/** Formats cut reasoning into blocks differently, so blank space does not count. */
const squeezed = (text) => text.replace(/\s/g, '');

if (recordings.folder) {
    const chosen = recordings.FORMATS.map((format) => [format, recordings.some(format)]);
    await upstream.rules(chosen.flatMap(([, some]) => some.map((one) => ({ match: { body: prompt(one) }, default: { reply: recordings.reply(one) } }))));
    for (const [format, some] of chosen) {
        for (const [client, ask] of Object.entries(CLIENTS)) {
            test(`${client} reads recorded answers of ${format}`, async () => {
                assert.ok(some.length > 3, `${some.length} recordings`);
                for (const one of some) {
                    const said = await ask(`of-${format}/some-model`, prompt(one), one.has_stream).catch((error) => assert.fail(`${one.id}: ${error}`));
                    assert.deepEqual(compared(said, client), recorded(one, client, said), one.id);
                }
            });
        }
    }
}
