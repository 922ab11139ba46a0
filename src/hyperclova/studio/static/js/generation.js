// One continuation at a time: asks the model, lets its words run into the document, and says how
// it ended.
import { element, make, number, t } from "./messages.js";
import { scoringRequest } from "./request.js";
import { call, ServerError, stream } from "./server.js";
import { newGeneration } from "./text.js";
import { units, wireTokens } from "./tokens.js";

/** @typedef {{editor: import("./editor.js").Editor, state: import("./state.js").State,
 * count: import("./count.js").TokenCount, probabilities: import("./probabilities.js").Probabilities,
 * request: () => any, failed: (error: ServerError) => void}} Parts */

export class Generation {
  /** @param {Parts} parts */
  constructor(parts) {
    this.parts = parts;
    /** @type {AbortController | null} */ this.abort = null;
    /** @type {Promise<void>} */ this.finished = Promise.resolve();
    /** @type {() => void} */ this.onChange = () => {};
  }

  get running() { return this.abort !== null; }

  /** Continue the text. */
  start() {
    if (this.running) return;
    const { editor, state } = this.parts;
    if (!editor.text.string) {
      state.say("idle", t("state.nothing"));
      editor.area.focus();
      return;
    }
    editor.record();
    this.finished = this.#run();
  }

  /** Take the last continuation away and write another in its place. */
  again() {
    const { editor } = this.parts;
    const last = editor.text.lastGeneration;
    if (this.running || !last) return;
    editor.record();
    editor.set(editor.text.replace(last.start, editor.text.string.length, ""));
    this.finished = this.#run();
  }

  /** End the writing; what is written stays. */
  async stop() {
    this.abort?.abort();
    await this.finished;
  }

  async #run() {
    const { editor, state, count, probabilities } = this.parts;
    const request = this.parts.request();
    const generation = newGeneration();
    const start = editor.text.string.length;
    const abort = this.abort = new AbortController();
    const spoken = element("spoken");
    spoken.replaceChildren();
    spoken.ariaBusy = "true";
    editor.writing = true;
    state.say("busy", t(state.ready ? "state.waiting" : `state.${state.engine.state === "restarting" ? "restarting" : "loading"}`));
    this.onChange();
    let output = "";
    let chunks = 0;
    let unspoken = "";
    /** @type {string | null} */ let reason = null;
    /** @type {any} */ let stopReason;
    /** @type {any} */ let usage = null;
    /** @type {ServerError | null} */ let trouble = null;
    const tokens = [];
    const before = count.count ?? 0;
    const follow = nearEnd();
    try {
      await state.whileLoading(abort.signal); // a server that loads sends everybody away
      for await (const event of stream(request, abort.signal)) {
        usage = event.usage ?? usage;
        const choice = event.choices[0];
        if (!choice) continue;
        tokens.push(...wireTokens(choice.logprobs));
        reason = choice.finish_reason ?? reason;
        stopReason = choice.stop_reason ?? stopReason;
        // A textarea knows one kind of line break; letter for letter, so that offsets stay true.
        const written = choice.text.replaceAll("\r", "\n");
        if (!written) continue;
        if (!output) state.say("busy", t("state.writing"));
        output += written;
        chunks += 1;
        let text = editor.text.append(written, generation);
        if (tokens.length) text = text.withUnits([...text.units.filter((unit) => unit.end <= start), ...units(tokens, output, start)]);
        editor.set(text, "keep");
        count.set(before + chunks);
        if (follow) toEnd();
        unspoken += written;
        if (/[.!?…。\n]\s*$/.test(unspoken)) { spoken.append(make("p", {}, unspoken)); unspoken = ""; }
      }
    } catch (error) {
      if (error instanceof ServerError) trouble = error;
      else if (/** @type {Error} */ (error).name === "AbortError") reason = "cancelled";
      else throw error;
    } finally {
      this.abort = null;
      editor.writing = false;
    }
    if (unspoken) spoken.append(make("p", {}, unspoken));
    spoken.ariaBusy = "false";
    if (output) editor.set(editor.text, editor.area.selectionEnd === start ? "end" : "keep");
    else if (reason !== "length") editor.forget();
    if (trouble) {
      state.say("trouble", t(output ? "state.broken" : "state.broken_empty"));
      this.parts.failed(trouble);
      await state.ask();
    } else {
      state.say("done", this.#ending(reason, stopReason, request, output, usage));
    }
    count.recount(editor.text.string);
    this.onChange();
    if (output) this.#remember(request, output, reason, usage);
    if (probabilities.shown) editor.render();
  }

  /** How it ended, and what to do about it.
   * @param {string | null} reason @param {any} stopReason @param {any} request
   * @param {string} output @param {any} usage */
  #ending(reason, stopReason, request, output, usage) {
    if (reason === "cancelled") return t(output ? "state.cancelled" : "state.cancelled_empty");
    const tokens = number(usage?.completion_tokens ?? request.max_tokens);
    if (reason === "length") return t("state.length", { tokens });
    const stops = request.stop?.length > 0;
    const which = typeof stopReason === "string" ? "stop" : stops && stopReason === undefined ? "stop_or_end" : "end";
    return t(`state.${output ? "" : "empty_"}${which}`, { tokens });
  }

  /** @param {any} request @param {string} output @param {string | null} reason @param {any} usage */
  async #remember(request, output, reason, usage) {
    try {
      await call("POST", "/api/runs", {
        model: request.model, request, output, finish_reason: reason, usage,
        document: { segments: this.parts.editor.text.segments() },
      });
    } catch (error) {
      if (error instanceof ServerError) this.parts.failed(error);
    }
  }

  /** Ask for the probabilities of the model's text that stands already, where they are unknown. */
  async score() {
    const { editor, probabilities, request } = this.parts;
    const { string, runs, units: known } = editor.text;
    const covered = known.reduce((sum, unit) => sum + unit.end - unit.start, 0);
    const model = runs.reduce((sum, run) => sum + (run.author === "model" ? run.length : 0), 0);
    if (this.running || !model || covered >= model) return;
    try {
      const answer = await call("POST", "/v1/completions", scoringRequest(request().model, string));
      if (editor.text.string !== string || !probabilities.shown) return; // somebody wrote meanwhile
      const all = units(wireTokens(answer.choices[0].logprobs), string, 0);
      const inside = all.filter((unit) => {
        let at = 0;
        return editor.text.runs.some((run) => {
          const fits = run.author === "model" && at <= unit.start && unit.end <= at + run.length;
          at += run.length;
          return fits;
        });
      });
      const kept = new Set(known.map((unit) => unit.start));
      editor.text = editor.text.withUnits(covered ? merge(known, inside.filter((unit) => !kept.has(unit.start))) : inside);
      editor.render();
    } catch (error) {
      if (error instanceof ServerError) this.parts.failed(error);
    }
  }
}

/** Known tokens, and new ones where they do not overlap. @param {readonly import("./text.js").Unit[]} known
 * @param {import("./text.js").Unit[]} found */
function merge(known, found) {
  const fresh = found.filter((unit) => !known.some((other) => other.start < unit.end && unit.start < other.end));
  return [...known, ...fresh].sort((one, other) => one.start - other.start);
}

/** Whether the reader is at the end of the document, and so wants to follow the writing. */
function nearEnd() {
  return innerHeight + scrollY >= document.documentElement.scrollHeight - 160;
}

function toEnd() {
  requestAnimationFrame(() => scrollTo({ top: document.documentElement.scrollHeight }));
}
