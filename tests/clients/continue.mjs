// Continue's HTTP adapters against one service. Standard input: {url, cases: [{provider, base, model, call,
// body}], key}. Standard output: per case {chunks} as the adapter yields them, or {error}.

import { readFileSync } from "node:fs";
import { constructLlmApi } from "@continuedev/openai-adapters";

// The adapters write remarks of their own.
console.log = console.info = console.error;

const { url, key, cases } = JSON.parse(readFileSync(0, "utf8"));
const found = [];
for (const { provider, base, model, call, body } of cases) {
  const api = constructLlmApi({ provider, apiKey: key, apiBase: new URL(base, url).href });
  const chunks = [];
  try {
    for await (const chunk of api[call]({ model, stream: true, ...body }, new AbortController().signal)) chunks.push(chunk);
    found.push({ chunks });
  } catch (error) {
    found.push({ chunks, error: String(error.message ?? error), status: error.status ?? null });
  }
}
process.stdout.write(JSON.stringify(found));
