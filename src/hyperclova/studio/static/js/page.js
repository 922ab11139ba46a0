// The Playground: ties the document, the model, the panel and the keys together.
import { codeDialog } from "./code.js";
import { Desk } from "./desk.js";
import { Editor } from "./editor.js";
import { Generation } from "./generation.js";
import { element, number, page, t } from "./messages.js";
import { Parameters, panelSheet } from "./parameters.js";
import { Probabilities } from "./probabilities.js";
import { completionRequest } from "./request.js";
import { runsDrawer } from "./runs.js";
import { showError, State } from "./state.js";
import { Text } from "./text.js";
import { TokenCount } from "./count.js";

let opened = false; // until then, what changes is only what was kept
const mac = /Mac|iPhone|iPad/.test(navigator.platform);

const editor = new Editor(element("text"), element("overlay"));
const parameters = new Parameters();
const state = new State();
const count = new TokenCount(() => parameters.values.max_tokens);
const probabilities = new Probabilities(editor, (unit, token) => {
  const text = token.replaceAll("\r", "\n"); // as in a generation
  editor.record();
  editor.set(editor.text.replace(unit.start, editor.text.string.length, text, ownerOf(unit.start)));
  editor.area.focus();
  state.say("done", t("state.chosen"));
});
const current = () => completionRequest(
  state.engine.model_id, editor.text.string, parameters.values, probabilities.shown,
);
const generation = new Generation({ editor, state, count, probabilities, request: current, failed: showError });
const desk = new Desk(() => ({
  document: { segments: editor.text.segments() },
  parameters: { ...parameters.values, logprobs: probabilities.shown ? 5 : null },
}));
const sheet = panelSheet();
const openCode = codeDialog(current);
const openRuns = runsDrawer((run) => {
  editor.record();
  editor.set(Text.from(run.document.segments));
  fill(run.request);
  editor.area.focus();
  state.clear();
}, showError);

/** The continuation that wrote the place. @param {number} place */
function ownerOf(place) {
  let at = 0;
  for (const run of editor.text.runs) {
    at += run.length;
    if (place < at) return run.generation;
  }
  return 0;
}

/** @param {Record<string, any>} values */
function fill(values) {
  parameters.fill(values);
  showProbabilities(Boolean(values.logprobs));
  desk.changed();
}

/** @param {boolean} shown */
function showProbabilities(shown) {
  element("show-probabilities").ariaChecked = String(shown);
  probabilities.show(shown);
  if (shown) generation.score();
}

let counting = 0;
/** Say who wrote how much; once per frame, since a long text takes a while to count. */
function countAuthors() {
  counting ||= requestAnimationFrame(() => {
    counting = 0;
    const model = editor.text.written("model");
    element("authors").textContent = model ? t("document.authors", { human: number(editor.text.written("human")), model: number(model) }) : "";
  });
}

function refresh() {
  const text = editor.text;
  const busy = generation.running;
  countAuthors();
  element("gallery").hidden = text.string !== "" || busy;
  element("generate").hidden = busy;
  element("stop").hidden = !busy;
  const able = {
    generate: state.ready || state.engine.state === "loading" || state.engine.state === "restarting",
    undo: editor.past.length > 0, redo: editor.future.length > 0 && !busy,
    regenerate: !busy && text.lastGeneration !== null,
  };
  for (const [id, can] of Object.entries(able)) element(id).ariaDisabled = String(!can);
}

editor.onChange = (text) => {
  if (!generation.running) {
    if (state.own?.[0] === "done") state.clear();
    count.recount(text.string);
  }
  if (opened) desk.changed();
  refresh();
};
generation.onChange = refresh;
parameters.onChange = () => { desk.changed(); count.show(); };
state.onEngine = () => {
  element("model").textContent = state.engine.model_id;
  if (state.ready) count.recount(editor.text.string);
  refresh();
};

const actions = {
  generate: () => editor.settled(() => generation.start()),
  stop: () => generation.stop(),
  undo: () => editor.settled(async () => { await generation.stop(); editor.undo(); }),
  redo: () => editor.settled(() => { if (!generation.running) editor.redo(); }),
  regenerate: () => editor.settled(() => generation.again()),
  new: () => editor.settled(async () => {
    await generation.stop();
    if (editor.text.string) { editor.record(); editor.set(new Text()); }
    editor.area.focus();
  }),
  "open-runs": () => openRuns(),
  "open-code": () => openCode(),
  "show-probabilities": () => showProbabilities(!probabilities.shown),
};
/** @type {Record<string, keyof typeof actions>} */
const keys = {
  "Mod+Enter": "generate", "Mod+Shift+Enter": "regenerate", "Mod+KeyZ": "undo", "Mod+Shift+KeyZ": "redo",
  "Mod+KeyY": "redo", "Alt+KeyN": "new", "Alt+KeyH": "open-runs", "Alt+KeyC": "open-code", "Alt+KeyP": "show-probabilities",
};

for (const [id, action] of Object.entries(actions)) {
  element(id).addEventListener("click", () => {
    if (element(id).ariaDisabled === "true") return;
    const held = document.activeElement === element(id);
    action();
    if (held && element(id).hidden) element(id === "generate" ? "stop" : "generate").focus();
    if (id === "show-probabilities") desk.changed();
  });
}

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && !event.isComposing) {
    if (generation.running) generation.stop();
    else if (!sheet.close()) probabilities.close();
    return;
  }
  const code = event.code === "NumpadEnter" ? "Enter" : event.code;
  const name = (event.ctrlKey || event.metaKey ? "Mod+" : "") + (event.altKey ? "Alt+" : "") + (event.shiftKey ? "Shift+" : "") + code;
  const id = keys[name];
  const elsewhere = event.target instanceof HTMLInputElement && event.target.type !== "range";
  if (!id || (elsewhere && /KeyZ|KeyY/.test(code))) return; // a field undoes its own typing
  event.preventDefault();
  if (!event.repeat && element(id).ariaDisabled !== "true") actions[id]();
  if (id === "show-probabilities") desk.changed();
});

for (const button of document.querySelectorAll("dialog [data-close]")) {
  button.addEventListener("click", () => button.closest("dialog")?.close());
}
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}
for (const kbd of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("kbd[data-keys]"))) {
  const words = mac
    ? { Mod: "⌘", Shift: "⇧", Alt: "⌥", Enter: "↵", Escape: "Esc" } : { Mod: "Ctrl", Shift: "⇧", Enter: "↵", Escape: "Esc" };
  kbd.textContent = (kbd.dataset.keys ?? "").split("+").map((key) => /** @type {any} */ (words)[key] ?? key).join(mac ? "" : "+");
}

element("gallery").addEventListener("click", (/** @type {MouseEvent} */ event) => {
  const card = /** @type {HTMLElement} */ (event.target).closest("button");
  if (!card) return;
  editor.record();
  editor.set(new Text().replace(0, 0, card.dataset.prompt ?? ""));
  parameters.set("stop", JSON.parse(card.dataset.stop ?? "[]"));
  editor.area.focus();
  state.say("ready", t("state.example"));
});
element("document").addEventListener("click", (/** @type {MouseEvent} */ event) => {
  if (event.target === element("document")) editor.area.focus();
});

element("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const wanted = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
  if (wanted === system) delete root.dataset.theme; else root.dataset.theme = wanted;
  document.cookie = `theme=${root.dataset.theme ?? ""}; path=/; samesite=lax; max-age=${root.dataset.theme ? 31536000 : 0}`;
});
for (const link of /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll(".languages a"))) {
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    await Promise.race([desk.save(), new Promise((done) => setTimeout(done, 1500))]);
    location.assign(link.href);
  });
}

const { draft, earlier, unsaved } = desk.begin();
if (earlier) { editor.set(Text.from(earlier.document.segments)); editor.record(); }
editor.set(Text.from(draft.document.segments));
parameters.fill(draft.parameters);
if (draft.parameters.logprobs) showProbabilities(true);
opened = true;
if (unsaved) desk.changed();
state.onEngine();
document.documentElement.dataset.alive = ""; // the page answers keys from here on
