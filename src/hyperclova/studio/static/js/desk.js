// The draft keeps itself: on the server soon after every change, and in this browser until the
// server has it, so that neither a reload nor a server that is away loses a syllable.
import { element, page, t } from "./messages.js";
import { call } from "./server.js";

const PAUSE = 600; // milliseconds without a change after which the draft is saved
const KEEP = 150; // and the longest that this browser lags behind
const RETRY = 5000;
const KEEPALIVE_LIMIT = 60_000; // bytes that a leaving page may still send
const KEY = "hyperclova.desk";

const times = new Intl.DateTimeFormat(page.language, { timeStyle: "short" });

/** @typedef {{document: {segments: any[]}, parameters: Record<string, any>}} Draft */

export class Desk {
  /** @param {() => Draft} current */
  constructor(current) {
    this.current = current;
    this.version = page.desk.updated_at;
    this.dirty = false;
    this.timer = 0;
    this.keeping = 0;
    this.changedAt = 0;
    /** @type {Promise<void> | null} */ this.saving = null;
    addEventListener("pagehide", () => this.#leave());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState !== "hidden" || !this.dirty) return;
      this.#keep();
      this.save();
    });
  }

  /** The draft to begin with: the server's, or a younger one that this browser could not hand over
   * (`unsaved`). The other of the two is `earlier`: one undo away. */
  begin() {
    /** @type {Draft} */ const saved = page.desk;
    /** @type {(Draft & {at: number}) | null} */ let kept = null;
    try { kept = JSON.parse(localStorage.getItem(KEY) ?? "null"); } catch { /* not ours, or no storage */ }
    this.#say("restored");
    if (!kept) return { draft: saved, earlier: null, unsaved: false };
    const different = JSON.stringify(kept.document) !== JSON.stringify(saved.document);
    if (!this.version || kept.at > Date.parse(this.version)) {
      return { draft: kept, earlier: different && this.version ? saved : null, unsaved: true };
    }
    this.#forget();
    return { draft: saved, earlier: different ? kept : null, unsaved: false };
  }

  changed() {
    this.dirty = true;
    this.changedAt = Date.now();
    this.keeping ||= setTimeout(() => this.#keep(), KEEP);
    this.#say("saving");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), PAUSE);
  }

  #keep() {
    clearTimeout(this.keeping);
    this.keeping = 0;
    if (!this.dirty) return;
    try {
      localStorage.setItem(KEY, JSON.stringify({ ...this.current(), at: this.changedAt }));
    } catch { /* full or forbidden: the server still gets it */ }
  }

  /** Save now, and wait until it is done. */
  async save() {
    clearTimeout(this.timer);
    await this.saving;
    if (!this.dirty) return;
    this.saving = this.#put();
    await this.saving;
    this.saving = null;
  }

  async #put() {
    this.dirty = false;
    try {
      const saved = await call("PUT", "/api/desk", this.current());
      this.version = saved.updated_at;
      if (this.dirty) return;
      this.#forget();
      this.#say("saved");
    } catch {
      this.dirty = true;
      this.#say("unsaved");
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.save(), RETRY);
    }
  }

  #leave() {
    if (!this.dirty) return;
    this.#keep();
    const body = this.current();
    if (new Blob([JSON.stringify(body)]).size < KEEPALIVE_LIMIT) {
      call("PUT", "/api/desk", body, { keepalive: true }).catch(() => {}); // this browser still has it
    }
  }

  #forget() {
    try { localStorage.removeItem(KEY); } catch { /* no storage */ }
  }

  /** @param {"saving" | "saved" | "unsaved" | "restored"} what */
  #say(what) {
    const when = what === "restored" ? this.version && new Date(this.version) : new Date();
    element("saved").textContent = when ? t(`desk.${what === "restored" ? "saved" : what}`, { time: times.format(when) }) : "";
  }
}
