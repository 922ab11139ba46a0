// The panel: every parameter has a field, most a slider, and all know whether they were changed.
import { element, make, number, page, t } from "./messages.js";

/** @typedef {{name: string, kind: "number" | "integer" | "strings", group: string, min: number | null,
 * max: number | null, step: number | null, slider_min: number | null, slider_max: number | null,
 * default: any}} Definition */

const STOP_LIMIT = 4;

/** How a stop string is typed and shown: a line break is \n. @param {string} text */
const escaped = (text) => text.replace(/\\/g, "\\\\").replace(/\n/g, "\\n").replace(/\t/g, "\\t");
/** @param {string} text */
const unescaped = (text) => text.replace(/\\(n|t|\\)/g, (_, letter) => ({ n: "\n", t: "\t" })[/** @type {string} */ (letter)] ?? "\\");

const same = (/** @type {any} */ one, /** @type {any} */ other) => JSON.stringify(one) === JSON.stringify(other);

export class Parameters {
  constructor() {
    /** @type {Record<string, any>} */ this.values = structuredClone(page.defaults);
    /** @type {() => void} */ this.onChange = () => {};
    /** @type {Map<string, (value: any) => void>} */ this.shows = new Map();
    /** @type {Map<string, Definition>} */ this.definitions = new Map();
    for (const definition of page.parameters) {
      const box = document.querySelector(`[data-parameter="${definition.name}"]`);
      if (!box) continue;
      this.definitions.set(definition.name, definition);
      const show = definition.kind === "strings" ? this.#tags(definition, box) : this.#field(definition, box);
      this.shows.set(definition.name, (value) => { show(value); this.#mark(definition, box); });
      box.querySelector("[data-reset]")?.addEventListener("click", () => {
        this.set(definition.name, structuredClone(definition.default));
        /** @type {HTMLElement | null} */ (box.querySelector("input"))?.focus();
      });
    }
    this.fill({});
  }

  /** Take over saved values; what is not among them goes back to its default.
   * @param {Record<string, any>} saved */
  fill(saved) {
    for (const [name, definition] of this.definitions) {
      this.values[name] = structuredClone(saved[name] === undefined ? definition.default : saved[name]);
      this.shows.get(name)?.(this.values[name]);
    }
    this.#count();
  }

  /** @param {string} name @param {any} value */
  set(name, value) {
    if (same(this.values[name], value)) { this.shows.get(name)?.(value); return; }
    this.values[name] = value;
    this.shows.get(name)?.(value);
    this.#count();
    this.onChange();
  }

  /** @param {Definition} definition @param {Element} box */
  #mark(definition, box) {
    const changed = !same(this.values[definition.name], definition.default);
    box.toggleAttribute("data-changed", changed);
    const reset = /** @type {HTMLElement} */ (box.querySelector("[data-reset]"));
    const usual = definition.default === null || same(definition.default, []) ? t("parameter.empty") : String(definition.default);
    reset.hidden = !changed;
    reset.textContent = t("parameter.reset");
    reset.title = reset.ariaLabel = t("parameter.reset_long", { name: definition.name, value: usual });
  }

  /** How many in a folded section were changed. */
  #count() {
    for (const group of document.querySelectorAll("[data-group]")) {
      const count = group.querySelectorAll("[data-changed]").length;
      const label = /** @type {HTMLElement} */ (group.querySelector(".changed-count"));
      label.hidden = !count;
      label.textContent = t("parameter.changed", { count: number(count) });
    }
  }

  /** @param {Definition} definition @param {Element} box */
  #field(definition, box) {
    const field = /** @type {HTMLInputElement} */ (box.querySelector("input[type=number]"));
    const slider = /** @type {HTMLInputElement | null} */ (box.querySelector("input[type=range]"));
    const problem = /** @type {HTMLElement} */ (box.querySelector(".problem"));
    const low = Math.max(definition.min ?? -Infinity, -Number.MAX_SAFE_INTEGER);
    const high = Math.min(definition.max ?? Infinity, Number.MAX_SAFE_INTEGER);
    const complain = (/** @type {boolean} */ wrong) => {
      problem.hidden = !wrong;
      problem.textContent = wrong ? t(definition.kind === "integer" ? "parameter.whole" : "parameter.range", { low: number(low), high: number(high) }) : "";
      field.ariaInvalid = String(wrong);
    };
    const read = () => {
      const text = field.value.trim();
      const value = text === "" && !field.validity.badInput ? definition.default : Number(text || NaN);
      const fine = value === null || (value >= low && value <= high && (definition.kind !== "integer" || Number.isInteger(value)));
      complain(!fine);
      return fine ? value : undefined;
    };
    field.addEventListener("input", () => {
      const value = read();
      if (value === undefined || field.value.trim() === "") return;
      const typed = field.value;
      this.set(definition.name, value);
      field.value = typed; // do not tidy what is still being typed
    });
    field.addEventListener("change", () => {
      const value = read();
      if (value !== undefined) this.set(definition.name, value);
    });
    slider?.addEventListener("input", () => { complain(false); this.set(definition.name, Number(slider.value)); });
    return (/** @type {any} */ value) => {
      complain(false);
      field.value = value === null ? "" : String(value);
      if (!slider) return;
      slider.value = String(value);
      const share = (Number(slider.value) - Number(slider.min)) / (Number(slider.max) - Number(slider.min));
      slider.style.setProperty("--fill", `${share * 100}%`);
      slider.ariaValueText = String(value);
    };
  }

  /** @param {Definition} definition @param {Element} box */
  #tags(definition, box) {
    const list = /** @type {HTMLElement} */ (box.querySelector("ul"));
    const field = /** @type {HTMLInputElement} */ (box.querySelector("input"));
    const current = () => /** @type {string[]} */ (this.values[definition.name]);
    const add = () => {
      const text = unescaped(field.value);
      field.value = "";
      if (text && !current().includes(text)) this.set(definition.name, [...current(), text].slice(0, STOP_LIMIT));
    };
    field.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) { event.preventDefault(); add(); }
      if (event.key === "Backspace" && !field.value) this.set(definition.name, current().slice(0, -1));
    });
    field.addEventListener("change", add);
    return (/** @type {string[]} */ tags) => {
      list.replaceChildren(...tags.map((tag) => {
        const remove = make("button", { type: "button", ariaLabel: t("parameter.remove", { text: escaped(tag) }) });
        remove.innerHTML = '<svg class="icon" viewBox="0 0 20 20" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" aria-hidden="true"><path d="m5 5 10 10M15 5 5 15"/></svg>';
        remove.addEventListener("click", () => { this.set(definition.name, current().filter((other) => other !== tag)); field.focus(); });
        return make("li", {}, make("code", {}, escaped(tag)), remove);
      }));
      field.hidden = tags.length >= STOP_LIMIT;
    };
  }
}

/** On a narrow screen the panel is a sheet from below. */
export function panelSheet() {
  const panel = element("panel");
  const veil = element("veil");
  const opener = element("open-panel");
  const rest = [document.querySelector(".frame"), document.querySelector(".sheet")];
  const show = (/** @type {boolean} */ open) => {
    panel.classList.toggle("open", open);
    panel.role = open ? "dialog" : "complementary";
    panel.ariaModal = open ? "true" : null;
    veil.hidden = !open;
    opener.ariaExpanded = String(open);
    for (const part of rest) /** @type {HTMLElement} */ (part).inert = open;
    if (open) element("close-panel").focus();
    else if (panel.contains(document.activeElement)) opener.focus();
  };
  opener.addEventListener("click", () => show(true));
  element("close-panel").addEventListener("click", () => show(false));
  veil.addEventListener("click", () => show(false));
  matchMedia("(min-width: 961px)").addEventListener("change", () => show(false));
  return { close: () => { const open = !veil.hidden; if (open) show(false); return open; } };
}
