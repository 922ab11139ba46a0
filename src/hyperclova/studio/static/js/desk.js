// The draft keeps itself: on the server soon after every change, and in this browser until the
// server has it, so that neither a reload nor a server that is away loses a syllable.
import { element, page, t } from "./messages.js";
import { call } from "./server.js";

const PAUSE = 600; // milliseconds without a change after which the draft is saved
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
    /** @type {Promise<void> | null} */ this.saving = null;
    addEventListener("pagehide", () => this.#leave());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden" && this.dirty) this.save();
    });
  }

  /** The draft to begin with: the server's, or what this browser could not hand over. */
  begin() {
    /** @type {Draft} */ const saved = page.desk;
    /** @type {(Draft & {version: any}) | null} */ let kept = null;
    try { kept = JSON.parse(localStorage.getItem(KEY) ?? "null"); } catch { /* not ours, or no storage */ }
    if (!kept) { this.#say("restored"); return { draft: saved, earlier: null }; }
    const same = JSON.stringify(kept.document) === JSON.stringify(saved.document);
    if (kept.version === this.version) {
      if (!same) this.changed();
      return { draft: kept, earlier: null };
    }
    // Somebody saved since: theirs stands, and ours is one undo away.
    this.#forget();
    return { draft: saved, earlier: same ? null : kept };
  }

  changed() {
    this.dirty = true;
    try {
      localStorage.setItem(KEY, JSON.stringify({ ...this.current(), version: this.version }));
    } catch { /* full or forbidden: the server still gets it */ }
    this.#say("saving");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), PAUSE);
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
    const when = what === "restored" ? this.version && new Date(typeof this.version === "number" ? this.version * 1000 : this.version) : new Date();
    element("saved").textContent = when ? t(`desk.${what === "restored" ? "saved" : what}`, { time: times.format(when) }) : "";
  }
}
