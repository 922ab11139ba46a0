// Talking with the server: JSON, streams of events, and errors that say what to do.

/** What went wrong, with what a person needs to act or to report it. */
export class ServerError extends Error {
  /** @param {string} kind key of the words @param {string} message the server's own words
   * @param {string} requestId */
  constructor(kind, message, requestId = "") {
    super(message);
    this.kind = kind;
    this.requestId = requestId;
  }
}

/** @param {number} status @param {any} error the `error` object of an answer */
function kindOf(status, error) {
  const code = String(error?.code ?? "");
  if (/context_length/.test(code) || /context/.test(error?.message ?? "") && status === 400) return "context";
  if (status === 413) return "large";
  if (status === 429) return "busy";
  if (status === 404) return "missing";
  if (status === 400 || status === 422) return "rejected";
  if (status === 503 || /engine/.test(code + error?.type)) return "engine";
  return "server";
}

/** @param {string} path @param {RequestInit} [options] */
async function send(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (/** @type {Error} */ (error).name === "AbortError") throw error;
    throw new ServerError("unreachable", "");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  const error = body?.error ?? body;
  const message = typeof error?.message === "string" ? error.message : String(body?.detail ?? response.statusText);
  throw new ServerError(kindOf(response.status, error), message, response.headers.get("x-request-id") ?? "");
}

/** @param {string} method @param {string} path @param {any} [body] @param {RequestInit} [options] */
export async function call(method, path, body, options = {}) {
  const response = await send(path, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
    ...options,
  });
  return response.status === 204 ? null : response.json();
}

/**
 * The events of a streamed completion, as they come.
 * @param {any} request @param {AbortSignal} signal
 */
export async function* stream(request, signal) {
  const response = await send("/v1/completions", {
    method: "POST", signal, body: JSON.stringify(request), headers: { "content-type": "application/json" },
  });
  const requestId = response.headers.get("x-request-id") ?? "";
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        if (error.name === "AbortError") throw error;
        throw new ServerError("cut", "", requestId);
      });
      rest += decoder.decode(value, { stream: !done });
      const events = rest.split(/\r?\n\r?\n/);
      rest = events.pop() ?? "";
      for (const event of events) {
        const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
        if (data === "[DONE]") return;
        if (!data) continue;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new ServerError(kindOf(500, chunk.error), chunk.error.message, requestId);
        yield chunk;
      }
      if (done) throw new ServerError("cut", "", requestId);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
