// The one request: what the page sends is what "View code" shows.

/** @typedef {Record<string, any>} Values parameter values by name on the wire */

/** Alternatives asked for when probabilities are shown. */
export const ALTERNATIVES = 5;

/** @param {string} model @param {string} prompt @param {Values} values @param {boolean} probabilities */
export function completionRequest(model, prompt, values, probabilities) {
  /** @type {Values} */
  const request = { model, prompt };
  for (const [name, value] of Object.entries(values)) {
    const empty = value === null || value === undefined || (Array.isArray(value) && !value.length);
    if (name !== "logprobs" && !empty) request[name] = value;
  }
  if (probabilities) request.logprobs = ALTERNATIVES;
  request.stream = true;
  request.stream_options = { include_usage: true };
  return request;
}

/** Scores a text that stands already: nothing is written. @param {string} model @param {string} prompt */
export function scoringRequest(model, prompt) {
  return { model, prompt, echo: true, max_tokens: 0, logprobs: ALTERNATIVES };
}
