// History: every generation can be found, looked at again and forgotten.
import { element, make, page, t } from "./messages.js";
import { call, ServerError } from "./server.js";

const PAUSE = 200; // milliseconds between typing and searching

const times = new Intl.DateTimeFormat(page.language, { dateStyle: "medium", timeStyle: "short" });

/** @param {string} when a time as the server writes it */
const readable = (when) => times.format(new Date(when));

/** The end of a text, where its continuation begins. @param {string} text */
const ending = (text) => {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > 80 ? `… ${line.slice(-80)}` : line;
};

/** @param {(run: any) => void} open @param {(error: ServerError) => void} fail */
export function runsDrawer(open, fail) {
  const dialog = element("runs");
  const list = element("runs-list");
  const query = element("runs-query");
  const note = element("runs-note");
  const more = element("runs-more");
  /** @type {string | null} */ let next = null;
  let asked = 0;
  let timer = 0;

  /** @param {boolean} onward */
  async function load(onward) {
    const mine = ++asked;
    const parameters = new URLSearchParams({ limit: "20" });
    if (query.value.trim()) parameters.set("query", query.value.trim());
    if (onward && next) parameters.set("before", next);
    try {
      const answer = await call("GET", `/api/runs?${parameters}`);
      if (mine !== asked) return; // a later question is under way
      if (!onward) list.replaceChildren();
      list.append(...answer.runs.map(row));
      next = answer.next;
      more.hidden = !next;
      count();
    } catch (error) {
      note.textContent = t("runs.failed");
      if (error instanceof ServerError) fail(error);
    }
  }

  function count() {
    note.textContent = list.children.length ? "" : t(query.value.trim() ? "runs.none" : "runs.empty");
  }

  /** @param {any} run */
  function row(run) {
    const opener = make("button", { type: "button", className: "open" },
      make("time", {}, readable(run.created_at)),
      make("span", { className: "begin" }, ending(run.request.prompt ?? "") || t("runs.blank")),
      make("span", { className: "output" }, run.output.trim() || t("runs.blank")));
    opener.addEventListener("click", () => { dialog.close(); open(run); });
    const remove = make("button", { type: "button", className: "quiet delete" }, t("runs.delete"));
    const item = make("li", {}, opener, remove);
    const calm = () => { delete remove.dataset.sure; remove.textContent = t("runs.delete"); };
    remove.addEventListener("blur", calm);
    remove.addEventListener("click", async () => {
      if (!remove.dataset.sure) {
        remove.dataset.sure = "yes";
        remove.textContent = t("runs.sure");
        return;
      }
      try {
        await call("DELETE", `/api/runs/${encodeURIComponent(run.id)}`);
        const neighbour = item.nextElementSibling ?? item.previousElementSibling;
        item.remove();
        count();
        (neighbour?.querySelector("button") ?? query).focus();
      } catch (error) {
        if (error instanceof ServerError) fail(error);
      }
    });
    return item;
  }

  query.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => load(false), PAUSE);
  });
  more.addEventListener("click", () => load(true));
  return () => {
    query.value = "";
    list.replaceChildren();
    more.hidden = true;
    dialog.showModal();
    if (matchMedia("(pointer: fine)").matches) query.focus(); // a touch keyboard would hide the list
    load(false);
  };
}
