// A text of which it is known who wrote what. Immutable: every change gives a new one, so undo is
// keeping the old one.

/** @typedef {"human" | "model"} Author */
/** @typedef {{author: Author, length: number, generation: number}} Run one author's stretch;
 * generation tells one continuation from the next and is 0 for people */
/** @typedef {{text: string, logprob: number}} Rival a token that could have stood here */
/** @typedef {{start: number, end: number, logprob: number, pieces: string[], rivals: Rival[]}} Unit
 * a token in the text; several pieces when a character took more than one token */
/** @typedef {{author: Author, text: string}} Segment */

let generations = 0;
/** A number no other generation on this page has. */
export const newGeneration = () => ++generations;

/** @param {readonly Run[]} runs @param {number} from @param {number} to @returns {Run[]} */
function cut(runs, from, to) {
  const kept = [];
  let at = 0;
  for (const run of runs) {
    const length = Math.min(at + run.length, to) - Math.max(at, from);
    if (length > 0) kept.push({ ...run, length });
    at += run.length;
  }
  return kept;
}

/** @param {readonly Run[]} runs @returns {Run[]} neighbours of one author and generation joined */
function join(runs) {
  /** @type {Run[]} */
  const joined = [];
  for (const run of runs) {
    const last = joined.at(-1);
    if (last && last.author === run.author && last.generation === run.generation) {
      joined[joined.length - 1] = { ...last, length: last.length + run.length };
    } else if (run.length) joined.push(run);
  }
  return joined;
}

export class Text {
  /** @param {string} string @param {readonly Run[]} runs @param {readonly Unit[]} units */
  constructor(string = "", runs = [], units = []) {
    this.string = string;
    this.runs = runs;
    this.units = units;
  }

  /** @param {readonly Segment[]} segments */
  static from(segments) {
    segments = segments.map(({ author, text }) => ({ author, text: text.replace(/\r\n?/g, "\n") }));
    const runs = segments.map(({ author, text }) => ({
      author, length: text.length, generation: author === "model" ? newGeneration() : 0,
    }));
    return new Text(segments.map((segment) => segment.text).join(""), join(runs));
  }

  /** @returns {Segment[]} what the desk and the history keep */
  segments() {
    let at = 0;
    return this.runs.map(({ author, length }) => ({
      author, text: this.string.slice(at, (at += length)),
    }));
  }

  /**
   * Put `string` where start..end was.
   * @param {number} start @param {number} end @param {string} string
   * @param {number} generation 0 when a person writes
   */
  replace(start, end, string, generation = 0) {
    /** @type {Run} */
    const written = { author: generation ? "model" : "human", length: string.length, generation };
    const shift = string.length - (end - start);
    const units = [];
    for (const unit of this.units) {
      if (unit.end <= start) units.push(unit);
      else if (unit.start >= end) units.push({ ...unit, start: unit.start + shift, end: unit.end + shift });
    }
    return new Text(
      this.string.slice(0, start) + string + this.string.slice(end),
      join([...cut(this.runs, 0, start), ...(string ? [written] : []), ...cut(this.runs, end, Infinity)]),
      units,
    );
  }

  /** @param {string} string @param {number} generation */
  append(string, generation) {
    return this.replace(this.string.length, this.string.length, string, generation);
  }

  /** @param {readonly Unit[]} units what is known about the tokens of the whole text */
  withUnits(units) {
    return new Text(this.string, this.runs, units);
  }

  /** Where the continuation at the end of the text begins; null if a person wrote last. */
  get lastGeneration() {
    const last = this.runs.at(-1);
    if (!last || last.author !== "model") return null;
    let at = 0;
    for (const run of this.runs) {
      if (run.generation === last.generation) return { start: at, generation: run.generation };
      at += run.length;
    }
    return null;
  }

  /** @param {Author} author how many characters, as people count them */
  written(author) {
    let count = 0;
    for (const segment of this.segments()) {
      if (segment.author === author) count += [...segment.text].length;
    }
    return count;
  }
}

/**
 * What changed between two strings, given where the caret stands after the change. The caret
 * decides where among equal letters one was typed, and so whose neighbour it is.
 * @param {string} before @param {string} after @param {number} caret
 */
export function difference(before, after, caret) {
  const most = Math.min(before.length, after.length);
  let tail = after.length - caret;
  if (tail > before.length || before.slice(before.length - tail) !== after.slice(caret)) tail = 0;
  let head = 0;
  while (head < most - tail && before[head] === after[head]) head += 1;
  if (!tail) {
    while (tail < most - head && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail += 1;
  }
  return { start: head, end: before.length - tail, inserted: after.slice(head, after.length - tail) };
}
