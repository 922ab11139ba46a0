// View code: the request of this page as programs that run as they stand.
import { element, t } from "./messages.js";

/** @typedef {Record<string, any>} Request */

const OPENAI_FIELDS = new Set([
  "model", "prompt", "max_tokens", "temperature", "top_p", "frequency_penalty", "presence_penalty",
  "stop", "seed", "logprobs", "stream", "stream_options",
]);

/** A JSON value as Python. Strings need no change: what JSON escapes, Python reads alike.
 * @param {any} value @returns {string} */
function python(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${python(item)}`).join(", ")}}`;
  return JSON.stringify(value);
}

/** @param {Request} request @param {string} origin */
export function curl(request, origin) {
  return `curl --no-buffer ${origin}/v1/completions \\
  --header "Content-Type: application/json" \\
  --data-binary @- <<'JSON'
${JSON.stringify(request, null, 2)}
JSON
`;
}

/** @param {Request} request @param {string} origin */
export function openai(request, origin) {
  const entries = Object.entries(request);
  const extra = entries.filter(([name]) => !OPENAI_FIELDS.has(name));
  const lines = entries.filter(([name]) => OPENAI_FIELDS.has(name)).map(([name, value]) => `    ${name}=${python(value)},`);
  if (extra.length) lines.push(`    extra_body=${python(Object.fromEntries(extra))},`);
  return `from openai import OpenAI  # pip install openai

client = OpenAI(base_url="${origin}/v1", api_key="none")
stream = client.completions.create(
${lines.join("\n")}
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].text, end="", flush=True)
print()
`;
}

/** @param {Request} request @param {string} origin */
export function urllib(request, origin) {
  const lines = Object.entries(request).map(([name, value]) => `    ${JSON.stringify(name)}: ${python(value)},`);
  return `import json
import urllib.request

body = {
${lines.join("\n")}
}
request = urllib.request.Request(
    "${origin}/v1/completions",
    data=json.dumps(body).encode(),
    headers={"Content-Type": "application/json"},
)
with urllib.request.urlopen(request) as response:
    for line in response:
        data = line.decode().removeprefix("data: ").strip()
        if data and data != "[DONE]":
            for choice in json.loads(data)["choices"]:
                print(choice["text"], end="", flush=True)
print()
`;
}

const WRITERS = { curl, openai, urllib };

/** @param {() => Request} current gives the request the page would send now */
export function codeDialog(current) {
  const dialog = element("code");
  const tabs = /** @type {HTMLElement[]} */ ([...dialog.querySelectorAll("[role=tab]")]);
  const text = element("code-text");
  const note = element("code-note");
  const show = (/** @type {HTMLElement} */ chosen) => {
    for (const tab of tabs) {
      tab.ariaSelected = String(tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
    }
    const name = /** @type {keyof typeof WRITERS} */ (chosen.dataset.tab);
    text.textContent = WRITERS[name](current(), location.origin);
    text.setAttribute("aria-labelledby", chosen.id);
    note.textContent = t(`code.${name}_note`);
  };
  for (const [at, tab] of tabs.entries()) {
    tab.addEventListener("click", () => show(tab));
    tab.addEventListener("keydown", (event) => {
      const go = { ArrowRight: at + 1, ArrowLeft: at - 1 + tabs.length }[event.key];
      if (go === undefined) return;
      show(tabs[go % tabs.length]);
      tabs[go % tabs.length].focus();
    });
  }
  element("copy-code").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      note.textContent = t("code.copied");
    } catch {
      getSelection()?.selectAllChildren(text); // no clipboard on plain http from another machine
      note.textContent = t("code.selected");
    }
  });
  return () => {
    show(tabs.find((tab) => tab.ariaSelected === "true") ?? tabs[0]);
    dialog.showModal();
    /** @type {HTMLElement} */ (tabs.find((tab) => tab.tabIndex === 0)).focus();
  };
}
