// The service as the page sees it: completions, events, the session's log. Paths are relative to the page.

const KEY = "echo-api-key";
const MAX_EVENTS = 1000;

/** Why the service did not answer, in words for the reader. `needsKey`, `retryS`: what may help. */
export class Problem extends Error {
  constructor(words, { needsKey = false, retryS = 0, status = 0 } = {}) {
    super(words);
    this.needsKey = needsKey;
    this.retryS = retryS;
    this.status = status;
  }
}

/** A random name for one page's work; `crypto.randomUUID` needs HTTPS, this does not. */
export function newSession() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `playground-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

// A browser may forbid storage; the key then lives as long as the page.
let memory = "";
export function apiKey() {
  try {
    return sessionStorage.getItem(KEY) ?? memory;
  } catch {
    return memory;
  }
}
export function setApiKey(value) {
  memory = value;
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch {
    // kept in memory
  }
}

export class Service {
  /** @param {string} session */
  constructor(session) {
    this.session = session;
    this.pending = [];
    this.sending = null;
  }

  async #call(path, { headers = {}, ...options } = {}) {
    const key = apiKey();
    let response;
    try {
      response = await fetch(new URL(path, document.baseURI), {
        ...options,
        credentials: "same-origin",
        headers: {
          ...headers,
          "X-Echo-Session": this.session,
          ...(options.body ? { "Content-Type": "application/json" } : {}),
          ...(key ? { Authorization: `Bearer ${key}` } : {}),
        },
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("The service does not answer. It may be stopped, or the network is down.");
    }
    if (!response.ok) throw await problem(response, key);
    try {
      return { headers: response.headers, body: await response.json() };
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("The service gave an answer that is not JSON.", { status: response.status });
    }
  }

  /** One completion: {requestId, text, model, arm, latencyMs}. Throws Problem or AbortError. */
  async complete(prefix, suffix, file, language, signal) {
    const began = performance.now();
    const { headers, body } = await this.#call("v1/completions", {
      method: "POST",
      signal,
      headers: {
        "X-Echo-File": file,
        "X-Echo-Language": language,
        "X-Echo-Prefix-Complete": "true",
        "X-Echo-Suffix-Complete": "true",
      },
      body: JSON.stringify({ prompt: prefix, suffix }),
    });
    return {
      requestId: String(body.id ?? headers.get("x-request-id") ?? ""),
      text: String(body.choices?.[0]?.text ?? "").replace(/\r\n?/g, "\n"),
      model: headers.get("x-echo-model") ?? body.model ?? "",
      arm: headers.get("x-echo-arm") ?? "",
      latencyMs: performance.now() - began,
    };
  }

  /** Report a lifecycle event; what cannot be sent now goes with the next. */
  report(event) {
    this.pending.push({ ts_ms: Date.now(), ...event });
    this.pending.splice(0, this.pending.length - MAX_EVENTS);
    this.#send();
  }

  #send() {
    this.sending ??= Promise.resolve().then(() => this.flush());
  }

  /** Send the events that wait. They stay when the service is away; what it refuses for good is dropped. */
  async flush() {
    const events = this.pending.splice(0);
    let away = false;
    try {
      if (events.length)
        await this.#call("v1/echo/events", { method: "POST", keepalive: true, body: JSON.stringify({ events }) });
    } catch (error) {
      away = !(error.status >= 400 && error.status < 500) || [401, 408, 429].includes(error.status);
      if (away) this.pending.unshift(...events);
    }
    this.sending = null;
    if (this.pending.length && !away) this.#send();
  }

  /** What the log holds of this session, and what is mined from it. */
  async log() {
    return (await this.#call(`v1/echo/session?session=${encodeURIComponent(this.session)}`)).body;
  }
}

async function problem(response, key) {
  const { status } = response;
  const said = await sentence(response);
  if (status === 401) {
    const words = key ? "The service does not accept this API key." : "This service asks for an API key.";
    return new Problem(words, { needsKey: true, status });
  }
  if (status === 403) return new Problem(said || "This API key may not ask for completions.", { needsKey: true, status });
  if (status === 429) {
    const wait = Number(response.headers.get("retry-after"));
    const retryS = Number.isFinite(wait) && wait > 0 ? Math.min(wait, 300) : 2;
    return new Problem(`Too many requests. Suggestions go on in ${Math.ceil(retryS)} s.`, { retryS, status });
  }
  if (status === 503) return new Problem(`The model is not ready. ${said}`.trim(), { status });
  if (status === 504) return new Problem(`The model took too long. ${said}`.trim(), { status });
  if (status >= 500) return new Problem(`The service failed (HTTP ${status}). ${said}`.trim(), { status });
  return new Problem(`The service refused the request (HTTP ${status}). ${said}`.trim(), { status });
}

async function sentence(response) {
  try {
    const said = String((await response.json()).error?.message ?? "").slice(0, 300);
    return said && `${said[0].toUpperCase()}${said.slice(1)}${/[.!?]$/.test(said) ? "" : "."}`;
  } catch {
    return "";
  }
}
