// From log-probabilities on the wire to tokens in the text.

/** @typedef {import("./text.js").Unit} Unit */
/** @typedef {{text: string, logprob: number | null, top: Record<string, number> | null, offset: number}} Wire */

/** @param {any} logprobs the `logprobs` object of a choice @returns {Wire[]} */
export function wireTokens(logprobs) {
  if (!logprobs) return [];
  return logprobs.tokens.map((/** @type {string} */ text, /** @type {number} */ index) => ({
    text,
    logprob: logprobs.token_logprobs[index],
    top: logprobs.top_logprobs?.[index] ?? null,
    offset: logprobs.text_offset[index],
  }));
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The bytes of a token that is not whole characters; null for any other.
 * @param {string} text @returns {number[] | null} */
function bytes(text) {
  if (!text.startsWith("bytes:")) return null;
  return [...text.matchAll(/\\x([0-9a-f]{2})/g)].map((match) => parseInt(match[1], 16));
}

/** @param {number[]} sequence whether these are whole characters */
function whole(sequence) {
  try { utf8.decode(new Uint8Array(sequence)); return true; } catch { return false; }
}

/**
 * Tokens in places. Offsets on the wire count characters, places in a page count UTF-16 units.
 * Pieces that only together are whole characters become one unit.
 * @param {Wire[]} tokens @param {string} string the text they spell @param {number} start its place
 * @returns {Unit[]}
 */
export function units(tokens, string, start) {
  const places = [0];
  for (const character of string) places.push(/** @type {number} */ (places.at(-1)) + character.length);
  const origin = tokens[0]?.offset ?? 0;
  const place = (/** @type {number} */ index) => index >= tokens.length ? string.length
    : places[Math.min(Math.max(tokens[index].offset - origin, 0), places.length - 1)];
  /** @type {Unit[]} */
  const found = [];
  for (let at = 0, next = 0; at < tokens.length; at = next) {
    next = at + 1;
    const spelled = bytes(tokens[at].text);
    while (spelled && next < tokens.length && !whole(spelled)) {
      const more = bytes(tokens[next].text);
      if (!more) break; // the character was never finished
      spelled.push(...more);
      next += 1;
    }
    const group = tokens.slice(at, next);
    if (place(next) <= place(at) || group.some((token) => token.logprob === null)) continue;
    found.push({
      start: start + place(at),
      end: start + place(next),
      logprob: group.reduce((sum, token) => sum + Number(token.logprob), 0),
      pieces: group.map((token) => token.text),
      rivals: Object.entries(group[0].top ?? {})
        .map(([text, logprob]) => ({ text, logprob }))
        .sort((one, other) => other.logprob - one.logprob),
    });
  }
  return found;
}
