// How long the text is in tokens, against what the model can hold.
import { element, number, t } from "./messages.js";
import { call } from "./server.js";

const PAUSE = 250; // milliseconds without typing after which tokens are counted

export class TokenCount {
  /** @param {() => number} planned how many tokens would be written next */
  constructor(planned) {
    this.planned = planned;
    /** @type {number | null} */ this.count = null;
    /** @type {number | null} */ this.limit = null;
    this.timer = 0;
    this.asked = 0;
    this.show();
  }

  /** Count a text, soon. @param {string} string */
  recount(string) {
    clearTimeout(this.timer);
    const mine = ++this.asked;
    this.timer = setTimeout(async () => {
      const answer = await call("POST", "/tokenize", { prompt: string }).catch(() => null);
      if (!answer || mine !== this.asked) return; // no model yet, or the text has moved on
      this.limit = answer.max_model_len;
      this.set(answer.count);
    }, PAUSE);
  }

  /** @param {number} count */
  set(count) {
    this.count = count;
    this.show();
  }

  show() {
    const label = element("count");
    const known = this.count !== null && this.limit !== null;
    label.textContent = known
      ? t("count.tokens", { count: number(/** @type {number} */ (this.count)), limit: number(/** @type {number} */ (this.limit)) })
      : t("count.unknown");
    const over = known && Number(this.count) + Number(this.planned()) > Number(this.limit);
    label.toggleAttribute("data-over", over);
    label.title = over ? t("count.over") : "";
  }
}
