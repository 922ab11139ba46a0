// Show probabilities: every token of the model's text can be visited by keyboard or pointer, says
// how likely it was, and offers what could have stood in its place.
import { element, make, percent, t } from "./messages.js";

/** @typedef {import("./text.js").Unit} Unit @typedef {import("./editor.js").Editor} Editor */

/** A token as people see it: spaces and line breaks get a sign. @param {string} text */
export const visible = (text) => text.replace(/ /g, "␣").replace(/[\n\r]/g, "↵").replace(/\t/g, "⇥");

export class Probabilities {
  /**
   * @param {Editor} editor
   * @param {(unit: Unit, text: string) => void} choose called with the alternative a person takes
   */
  constructor(editor, choose) {
    this.editor = editor;
    this.choose = choose;
    this.current = 0; // the token that Tab reaches
    /** @type {HTMLElement | null} */ this.list = null;
    this.hint = make("div", { className: "percent-hint", hidden: true, ariaHidden: "true" });
    element("document").append(this.hint);

    editor.onToken = (span, index) => this.#dress(span, index);
    const { area, overlay } = editor;
    overlay.addEventListener("keydown", (event) => this.#tokenKey(event));
    overlay.addEventListener("focusin", (event) => {
      const index = this.#indexOf(event.target);
      if (index !== null) { this.#reach(index); this.#showHint(index); }
    });
    overlay.addEventListener("focusout", () => { this.hint.hidden = true; });
    area.addEventListener("pointermove", (event) => this.#showHint(this.#at(event.clientX, event.clientY)));
    area.addEventListener("pointerleave", () => { this.hint.hidden = true; });
    area.addEventListener("click", (event) => {
      const index = this.#at(event.clientX, event.clientY);
      if (index === null) this.close();
      else { this.#reach(index); this.open(index, false); }
    });
    area.addEventListener("keydown", () => this.close());
    document.addEventListener("pointerdown", (event) => {
      const target = /** @type {Node} */ (event.target);
      if (this.list && !this.list.contains(target) && target !== area) this.close();
    });
  }

  get shown() { return this.editor.showTokens; }

  /** @param {boolean} shown */
  show(shown) {
    this.editor.showTokens = shown;
    this.editor.overlay.role = shown ? "group" : null;
    this.editor.overlay.ariaHidden = shown ? null : "true";
    this.editor.overlay.ariaLabel = shown ? t("probabilities.tokens") : null;
    element("ramp").hidden = !shown;
    this.close();
    this.hint.hidden = true;
    this.editor.render();
  }

  /** @param {HTMLElement} span @param {number} index */
  #dress(span, index) {
    const unit = this.editor.text.units[index];
    // Three powers of ten from the sure to the surprising; each is a third of the ramp.
    const surprise = Math.min(1, -unit.logprob / (3 * Math.LN10));
    span.style.setProperty("--surprise", `${Math.round(surprise * 100)}%`);
    span.dataset.unit = String(index);
    span.role = "button";
    span.tabIndex = index === Math.min(this.current, this.editor.text.units.length - 1) ? 0 : -1;
    span.ariaHasPopup = "listbox";
    span.ariaLabel = t("probabilities.token", { token: visible(span.textContent ?? ""), percent: percent(unit.logprob) });
  }

  /** @param {EventTarget | null} target */
  #indexOf(target) {
    const token = target instanceof Element ? target.closest(".token") : null;
    return token ? Number(/** @type {HTMLElement} */ (token).dataset.unit) : null;
  }

  /** @param {number} index @returns {HTMLElement | null} */
  #span(index) { return this.editor.overlay.querySelector(`[data-unit="${index}"]`); }

  /** The token under a point; the textarea above them takes the pointer.
   * @param {number} x @param {number} y */
  #at(x, y) {
    if (!this.shown) return null;
    for (const token of this.editor.overlay.querySelectorAll(".token")) {
      for (const box of token.getClientRects()) {
        if (x >= box.left && x < box.right && y >= box.top && y < box.bottom) return this.#indexOf(token);
      }
    }
    return null;
  }

  /** Make this the token that Tab reaches. @param {number} index */
  #reach(index) {
    const before = this.#span(this.current);
    if (before) before.tabIndex = -1;
    this.current = index;
    const now = this.#span(index);
    if (now) now.tabIndex = 0;
  }

  /** @param {number | null} index */
  #showHint(index) {
    const span = index === null || this.list ? null : this.#span(index);
    this.hint.hidden = !span;
    if (!span || index === null) return;
    this.hint.textContent = percent(this.editor.text.units[index].logprob);
    this.#place(this.hint, span, -24);
  }

  /** Put `box` at `span`; `offset` from its top, or below it. @param {HTMLElement} box
   * @param {HTMLElement} span @param {number} [offset] */
  #place(box, span, offset) {
    const frame = element("document").getBoundingClientRect();
    const rect = [...span.getClientRects()].find((piece) => piece.width > 2) ?? span.getBoundingClientRect();
    const room = Math.min(frame.width, window.innerWidth - frame.left) - box.offsetWidth - 8;
    box.style.left = `${Math.max(8, Math.min(rect.left - frame.left, room))}px`;
    box.style.top = `${offset === undefined ? rect.bottom - frame.top + 8 : rect.top - frame.top + offset}px`;
  }

  /** @param {KeyboardEvent} event */
  #tokenKey(event) {
    const index = this.#indexOf(event.target);
    if (index === null || event.ctrlKey || event.metaKey || event.altKey) return;
    const spans = [.../** @type {NodeListOf<HTMLElement>} */ (this.editor.overlay.querySelectorAll(".token"))];
    const at = spans.findIndex((span) => span.dataset.unit === String(index));
    const go = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: spans.length - 1 }[event.key];
    if (go !== undefined) spans[Math.max(0, Math.min(go, spans.length - 1))].focus();
    else if (["Enter", " ", "ArrowDown"].includes(event.key)) this.open(index, true);
    else if (event.key === "Escape") this.editor.area.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Show the alternatives of a token. @param {number} index @param {boolean} focus */
  open(index, focus) {
    this.close();
    const unit = this.editor.text.units[index];
    const span = this.#span(index);
    if (!span) return;
    this.hint.hidden = true;
    span.classList.add("here");
    span.ariaExpanded = "true";
    const chosen = unit.pieces[0];
    const listed = unit.rivals.reduce((sum, rival) => sum + Math.exp(rival.logprob), 0);
    const options = make("div", { role: "listbox", ariaLabel: t("probabilities.alternatives") });
    for (const rival of unit.rivals) {
      const whole = !/^(bytes:|<\|)/.test(rival.text);
      const same = rival.text === chosen;
      const option = make("div", { role: "option", tabIndex: -1, ariaSelected: String(same), ariaDisabled: String(!whole) },
        make("b", {}, whole ? visible(rival.text) : rival.text.startsWith("<|") ? t("probabilities.end") : rival.text.replace("bytes:", t("probabilities.bytes") + " ")),
        make("span", { className: "percent" }, percent(rival.logprob)));
      option.style.setProperty("--share", String(Math.exp(rival.logprob)));
      option.addEventListener("click", () => { if (whole) this.#take(unit, same ? null : rival.text); });
      options.append(option);
    }
    this.list = make("div", { className: "alternatives", id: "alternatives" },
      make("p", { className: "chosen" }, visible(this.editor.text.string.slice(unit.start, unit.end)), make("span", {}, percent(unit.logprob))),
      options,
      make("p", { className: "sentence" },
        t("probabilities.rest", { percent: percent(Math.log(Math.max(1 - listed, 1e-9))) }), make("br"), t("probabilities.choose")));
    this.list.addEventListener("keydown", (event) => this.#listKey(event, span));
    this.list.addEventListener("focusout", (event) => {
      if (event.relatedTarget && !this.list?.contains(/** @type {Node} */ (event.relatedTarget))) this.close();
    });
    element("document").append(this.list);
    this.#place(this.list, span);
    this.list.scrollIntoView({ block: "nearest" });
    if (focus) {
      const items = [...options.children];
      /** @type {HTMLElement} */ (items.find((item) => item.ariaSelected === "true") ?? items[0])?.focus();
    }
  }

  /** @param {KeyboardEvent} event @param {HTMLElement} span */
  #listKey(event, span) {
    const items = /** @type {HTMLElement[]} */ ([...(this.list?.querySelectorAll("[role=option]") ?? [])]);
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const go = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (go !== undefined) items[(go + items.length) % items.length].focus();
    else if (event.key === "Enter" || event.key === " ") items[at]?.click();
    else if (event.key === "Escape" || event.key === "ArrowLeft") { this.close(); span.focus(); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {Unit} unit @param {string | null} text */
  #take(unit, text) {
    this.close();
    if (text === null) this.editor.area.focus();
    else this.choose(unit, text);
  }

  close() {
    this.list?.remove();
    this.list = null;
    for (const span of this.editor.overlay.querySelectorAll(".token.here")) {
      span.classList.remove("here");
      span.ariaExpanded = null;
    }
  }
}
