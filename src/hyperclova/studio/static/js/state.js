// What is going on, in one line of words; and what went wrong, until it has been read.
import { element, make, page, t } from "./messages.js";
import { call, ServerError } from "./server.js";

const SOON = 1000; // milliseconds between questions while the engine is not ready
const LATER = 5000; // and while it is

/** @typedef {"ready" | "busy" | "done" | "trouble" | "idle"} Kind */

export class State {
  constructor() {
    this.engine = page.status;
    /** @type {[Kind, string] | null} what the last generation has to say */ this.own = null;
    /** @type {() => void} */ this.onEngine = () => {};
    document.addEventListener("visibilitychange", () => this.ask());
    this.timer = 0;
    this.#show();
    this.#later();
  }

  get ready() { return this.engine.state === "ready"; }

  /** @param {Kind} kind @param {string} text */
  say(kind, text) {
    this.own = [kind, text];
    this.#show();
  }

  /** Back to what the engine says. */
  clear() {
    this.own = null;
    this.#show();
  }

  async ask() {
    clearTimeout(this.timer);
    if (document.visibilityState === "visible") {
      const before = this.engine.state;
      this.engine = await call("GET", "/api/status").catch(() => ({ ...this.engine, state: "unreachable" }));
      if (this.engine.state !== before) {
        if (!this.ready && this.own?.[0] !== "busy") this.own = null;
        this.#show();
        this.onEngine();
      }
    }
    this.#later();
  }

  /** Wait while the model loads or comes back after a crash. @param {AbortSignal} signal */
  async whileLoading(signal) {
    while (this.engine.state === "loading" || this.engine.state === "restarting") {
      await new Promise((resolve) => setTimeout(resolve, SOON));
      signal.throwIfAborted();
      await this.ask();
    }
  }

  #later() { this.timer = setTimeout(() => this.ask(), this.ready ? LATER : SOON); }

  #show() {
    const line = element("state");
    const state = this.engine.state;
    const [kind, text] = this.own ?? (this.ready ? ["ready", t("state.ready")]
      : [state === "loading" || state === "restarting" ? "busy" : "trouble",
         t(`state.${["loading", "restarting", "unreachable"].includes(state) ? state : "failed"}`, { message: this.engine.message })]);
    line.dataset.kind = kind;
    if (line.textContent !== text) line.textContent = text;
  }
}

/** An error with what happened, why, what to do and its request id; it stays until dismissed.
 * @param {ServerError} error */
export function showError(error) {
  const dismiss = make("button", { type: "button", className: "quiet" }, t("error.dismiss"));
  const box = make("div", { className: "error" },
    make("b", {}, t(`error.${error.kind}`)), dismiss, make("p", {}, t(`error.${error.kind}.remedy`)));
  if (error.message) box.append(make("p", {}, make("code", {}, error.message)));
  if (error.requestId) box.append(make("p", {}, t("error.request"), " ", make("code", {}, error.requestId)));
  dismiss.addEventListener("click", () => { box.remove(); element("text").focus(); });
  const errors = element("errors");
  for (const other of errors.children) if (other.firstChild?.textContent === t(`error.${error.kind}`)) other.remove();
  errors.append(box);
}
