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

/**
 * Tokens in places. Offsets on the wire count characters, places in a page count UTF-16 units. A
 * character that took several tokens is one unit of several pieces.
 * @param {Wire[]} tokens @param {string} string the text they spell @param {number} start its place
 * @returns {Unit[]}
 */
export function units(tokens, string, start) {
  const places = [0];
  for (const character of string) places.push(/** @type {number} */ (places.at(-1)) + character.length);
  const origin = tokens[0]?.offset ?? 0;
  const place = (/** @type {number} */ offset) => places[Math.min(Math.max(offset - origin, 0), places.length - 1)];
  /** @type {Unit[]} */
  const found = [];
  let at = 0;
  while (at < tokens.length) {
    const first = at;
    const begin = place(tokens[at].offset);
    const broken = (/** @type {Wire} */ token) => token.text.startsWith("bytes:");
    const endOf = (/** @type {number} */ index) => index + 1 < tokens.length ? place(tokens[index + 1].offset) : string.length;
    at += 1;
    while (at < tokens.length && (endOf(at - 1) <= begin || (broken(tokens[at - 1]) && broken(tokens[at]) && endOf(at) <= endOf(at - 1)))) at += 1;
    const end = endOf(at - 1);
    const group = tokens.slice(first, at);
    if (end <= begin || group.some((token) => token.logprob === null)) continue;
    found.push({
      start: start + begin,
      end: start + end,
      logprob: group.reduce((sum, token) => sum + Number(token.logprob), 0),
      pieces: group.map((token) => token.text),
      rivals: Object.entries(group[0].top ?? {})
        .map(([text, logprob]) => ({ text, logprob }))
        .sort((one, other) => other.logprob - one.logprob),
    });
  }
  return found;
}
