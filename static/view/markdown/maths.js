/** Draws formulas as MathML. Their source stays with them: it is what is copied. */

import { whenNear } from "./near-view.js";

// A name that the type checker does not follow: the file may be missing.
const LIBRARY = "../../node_modules/temml/dist/temml.mjs";

/** A longer formula, or one that is deeper in itself, is shown as it was written. */
const MAX_LENGTH = 4000;
const MAX_DEPTH = 40;
/** Macros grow no further than this, and sizes (in em and points) neither. */
const BOUNDS = { maxExpand: 500, maxSize: [30, 300], trust: false, strict: false, throwOnError: true };

/** @type {Promise<{render: Function} | null> | undefined} The library, once a formula was seen. */
let library;

/**
 * Return an element that shows a formula's source, and the formula once it is near to what is seen.
 *
 * @param {Record<string, string>} formula
 */
export function createMaths({ tex = "", source = "", display = "" }) {
  const dom = document.createElement("span");
  dom.className = display ? "maths display" : "maths";
  dom.dir = "ltr";
  const text = document.createElement("span");
  text.textContent = source;
  dom.append(text);
  if (tex.length <= MAX_LENGTH && depthOf(tex) <= MAX_DEPTH) {
    whenNear(dom, () => void draw(dom, text, tex, display !== ""));
  }
  return { dom, inside: document.createDocumentFragment() };
}

/**
 * @param {HTMLElement} dom
 * @param {HTMLElement} text
 * @param {string} tex
 * @param {boolean} displayMode
 */
async function draw(dom, text, tex, displayMode) {
  library ??= load();
  const temml = await library;
  const formula = document.createElement("span");
  try {
    temml?.render(tex, formula, { ...BOUNDS, displayMode });
  } catch {
    return; // not TeX, or not all of it: the source says what is meant
  }
  for (const element of formula.querySelectorAll("[id], [href]")) {
    element.removeAttribute("id"); // the page has ids of its own
    element.removeAttribute("href");
  }
  if (formula.firstElementChild) {
    text.className = "visually-hidden";
    text.ariaHidden = "true";
    dom.append(...formula.childNodes);
  }
}

async function load() {
  try {
    const { default: temml } = await import(LIBRARY);
    return temml;
  } catch (error) {
    console.info(`Formulas are shown as their source: the library did not load (${error}).`);
    return null;
  }
}

/** @param {string} tex */
function depthOf(tex) {
  let depth = 0;
  let deepest = 0;
  for (const [sign] of tex.matchAll(/[{}]|\\(?:left|right|begin|end|sqrt|frac)(?![a-zA-Z])/g)) {
    depth += /^(?:\}|\\right|\\end)/.test(sign) ? -1 : 1;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}
