// The words of the page in the visitor's language, and its data, from the block in the page.

/** @type {any} */
export const page = JSON.parse(/** @type {HTMLElement} */ (document.getElementById("page-data")).textContent ?? "{}");

/** @param {string} key @param {Record<string, string | number>} [values] */
export function t(key, values = {}) {
  const sentence = page.messages[key];
  if (sentence === undefined) throw new Error(`no message ${key}`);
  return sentence.replace(/\{(\w+)\}/g, (/** @type {string} */ _, /** @type {string} */ name) => String(values[name]));
}

const numbers = new Intl.NumberFormat(page.language);
/** @param {number} value */
export const number = (value) => numbers.format(value);

/** A probability as people read it. @param {number} logprob natural logarithm */
export function percent(logprob) {
  const share = Math.exp(logprob);
  if (share < 0.001) return t("probabilities.below", { percent: "0.1" });
  return `${(share * 100).toFixed(share >= 0.9995 ? 0 : 1)}%`;
}

/** @param {string} id @returns {any} the element, which the template promises */
export const element = (id) => document.getElementById(id);

/** @param {string} tag @param {Record<string, any>} properties @param {...(Node | string)} children */
export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) /** @type {any} */ (node)[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
