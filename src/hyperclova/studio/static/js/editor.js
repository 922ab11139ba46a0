// The document: a textarea that people and input methods write in, over a mirrored copy that shows
// who wrote what. The textarea stays a textarea so that Korean composition is the browser's own.
import { Text, difference } from "./text.js";

/** @typedef {{text: Text, selection: [number, number]}} Moment */

const PAUSE = 1000; // milliseconds without typing after which undo stops separately
const MOMENTS = 300; // how far back undo goes
const COMMIT = 250; // milliseconds an input method has to finish a syllable on its own

/** The first character that can be seen: a letter, digit, punctuation mark or symbol. Spaces and
 * control characters are none, nor are letters without a shape, as the Hangul fillers are. */
const VISIBLE = /(?!\p{DI})[\p{L}\p{N}\p{P}\p{S}]/u;

export class Editor {
  /** @param {HTMLTextAreaElement} area @param {HTMLElement} overlay */
  constructor(area, overlay) {
    this.area = area;
    this.overlay = overlay;
    this.text = new Text();
    /** @type {Moment[]} */ this.past = [];
    /** @type {Moment[]} */ this.future = [];
    this.composing = false;
    this.showTokens = false;
    /** @type {(text: Text) => void} */ this.onChange = () => {};
    /** @type {(span: HTMLElement, index: number) => void} */ this.onToken = () => {};
    /** @type {(() => void) | null} */ this.waiting = null;
    this.lastTyped = { at: 0, kind: "" };
    /** @type {[number, number]} */ this.lastSelection = [0, 0];
    this.frame = 0;

    area.addEventListener("beforeinput", (event) => this.#before(event));
    area.addEventListener("input", (event) => this.#typed(/** @type {InputEvent} */ (event)));
    area.addEventListener("compositionstart", () => { this.composing = true; });
    area.addEventListener("compositionend", () => {
      this.composing = false;
      setTimeout(() => this.#settle()); // the last input event may still be on its way
    });
  }

  /**
   * Run `action` when no syllable is being composed: now, or as soon as the input method has
   * handed over the last one. A shortcut pressed on a half-written syllable is kept, not lost.
   * @param {() => void} action
   */
  settled(action) {
    if (!this.composing) { action(); return; }
    this.waiting = action;
    setTimeout(() => {
      if (!this.waiting) return;
      this.area.blur(); // leaving the field makes every input method finish
      this.area.focus({ preventScroll: true });
      setTimeout(() => { this.composing = false; this.#settle(); });
    }, COMMIT);
  }

  #settle() {
    if (this.area.value !== this.text.string) this.#take("insertCompositionText");
    const action = this.waiting;
    this.waiting = null;
    action?.();
  }

  /** @param {InputEvent} event */
  #before(event) {
    if (event.inputType === "historyUndo" || event.inputType === "historyRedo") {
      event.preventDefault();
      if (event.inputType === "historyUndo") this.undo(); else this.redo();
    }
    if (!this.composing) this.lastSelection = [this.area.selectionStart, this.area.selectionEnd];
  }

  /** @param {InputEvent} event */
  #typed(event) {
    this.#take(event.inputType || "");
  }

  /** Bring what stands in the textarea into the text. @param {string} kind */
  #take(kind) {
    const after = this.area.value;
    const { start, end, inserted } = difference(this.text.string, after, this.area.selectionEnd);
    if (start === end && !inserted) return;
    const now = performance.now();
    const sort = /^delete/.test(kind) ? "delete" : /^insert(Text|CompositionText|LineBreak)/.test(kind) ? "type" : kind;
    const together = sort === this.lastTyped.kind && /^(type|delete)$/.test(sort) && now - this.lastTyped.at < PAUSE;
    if (!together && !this.#midSyllable(kind)) this.record(this.lastSelection);
    this.lastTyped = { at: now, kind: sort };
    this.text = this.text.replace(start, end, inserted);
    this.future = [];
    this.#changed();
  }

  /** Whether this is a later step of the syllable that undo already remembers. @param {string} kind */
  #midSyllable(kind) {
    return this.composing && kind === "insertCompositionText" && this.lastTyped.kind === "type";
  }

  /** Remember this moment for undo. @param {[number, number]} [selection] */
  record(selection = [this.area.selectionStart, this.area.selectionEnd]) {
    this.past.push({ text: this.text, selection });
    if (this.past.length > MOMENTS) this.past.shift();
    this.future = [];
    this.lastTyped = { at: 0, kind: "" };
  }

  /** Forget the last remembered moment: nothing came of it. */
  forget() { this.past.pop(); }

  /**
   * Show another text. @param {Text} text @param {"start" | "end" | "keep" | [number, number]} caret
   */
  set(text, caret = "end") {
    const selection = /** @type {[number, number]} */ ([this.area.selectionStart, this.area.selectionEnd]);
    const grown = text.string.startsWith(this.area.value);
    if (grown && text.string.length > this.area.value.length) {
      const at = this.area.value.length;
      this.area.setRangeText(text.string.slice(at), at, at, "preserve");
    } else if (!grown) this.area.value = text.string;
    this.text = text;
    const [start, end] = caret === "keep" ? selection
      : caret === "start" ? [0, 0] : caret === "end" ? [text.string.length, text.string.length] : caret;
    this.area.setSelectionRange(start, end);
    this.#changed();
  }

  undo() { this.#travel(this.past, this.future); }
  redo() { this.#travel(this.future, this.past); }

  /** @param {Moment[]} from @param {Moment[]} to */
  #travel(from, to) {
    const moment = from.pop();
    if (!moment) return;
    to.push({ text: this.text, selection: [this.area.selectionStart, this.area.selectionEnd] });
    this.lastTyped = { at: 0, kind: "" };
    this.set(moment.text, moment.selection);
  }

  /** @param {boolean} writing while the model writes, people read */
  set writing(writing) {
    this.area.readOnly = writing;
    this.area.setAttribute("aria-busy", String(writing));
  }

  #changed() {
    this.render();
    this.onChange(this.text);
  }

  /** Draw the mirrored copy; at most once per frame. */
  render() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.#draw();
    });
  }

  #draw() {
    const { string, runs, units } = this.text;
    const content = document.createDocumentFragment();
    let at = 0;
    let index = 0;
    for (const run of runs) {
      const end = at + run.length;
      if (run.author === "human") {
        const plain = document.createElement("span");
        plain.textContent = string.slice(at, end);
        plain.ariaHidden = "true";
        content.append(plain);
      } else {
        const mark = document.createElement("mark");
        const visible = string.slice(at, end).search(VISIBLE);
        const first = visible < 0 ? end : at + visible;
        if (this.showTokens) {
          let done = at;
          for (; index < units.length && units[index].start < end; index += 1) {
            const unit = units[index];
            if (unit.start < done || unit.end > end) continue;
            this.#plain(mark, done, unit.start, first);
            const token = document.createElement("span");
            token.className = "token";
            this.#plain(token, unit.start, unit.end, first);
            this.onToken(token, index);
            mark.append(token);
            done = unit.end;
          }
          this.#plain(mark, done, end, first);
        } else this.#plain(mark, at, end, first);
        content.append(mark);
      }
      at = end;
    }
    content.append("\u200b"); // gives a last empty line its height
    this.overlay.classList.toggle("showing", this.showTokens);
    this.overlay.replaceChildren(content);
  }

  /** Text without tokens; the first visible character of a continuation carries its rule.
   * @param {HTMLElement} parent @param {number} from @param {number} to @param {number} first */
  #plain(parent, from, to, first) {
    if (from >= to) return;
    const string = this.text.string;
    if (first < from || first >= to) { parent.append(string.slice(from, to)); return; }
    const letter = String.fromCodePoint(/** @type {number} */ (string.codePointAt(first)));
    const span = document.createElement("span");
    span.className = "first";
    span.textContent = letter;
    parent.append(string.slice(from, first), span, string.slice(first + letter.length, to));
  }
}
