/** Colours the words of programs, once a block of code is whole and near to what is seen. */

import { grammarsOf } from "./languages.js";
import { whenNear } from "./near-view.js";

/**
 * @typedef {import("./highlight-worker.js").Run} Run
 * @typedef {{id: number, runs: Run[] | null, reason?: string}} Answer
 */

/** Longer code stays as it is, in characters. */
const MAX_CODE = 200_000;
/** Milliseconds after which a program is given up: some grammars take for ever with some programs. */
const LONGEST = 5000;

/** @type {Worker | null} */
let worker = null;
let lastId = 0;
let isMissing = false;

/**
 * Have the words of a block of code coloured.
 *
 * @param {HTMLElement} code The element with its text, which does not change any more.
 * @param {string} language
 */
export function highlight(code, language) {
  if (grammarsOf(language).length > 0 && (code.textContent ?? "").length <= MAX_CODE) {
    whenNear(code, () => void colour(code, language));
  }
}

/**
 * @param {HTMLElement} code
 * @param {string} language
 */
async function colour(code, language) {
  const text = code.textContent ?? "";
  const runs = isMissing ? null : await ask(language, text);
  const selection = getSelection();
  // What somebody has selected stays selected.
  const isSelected = selection && !selection.isCollapsed && selection.containsNode(code, true);
  if (runs && !isSelected && code.textContent === text) {
    draw(code, runs);
  }
}

/**
 * @param {string} language
 * @param {string} code
 * @returns {Promise<Run[] | null>}
 */
function ask(language, code) {
  worker ??= new Worker(new URL("highlight-worker.js", import.meta.url), { type: "module" });
  const asked = worker;
  const id = (lastId += 1);
  return new Promise((resolve) => {
    /** @param {Run[] | null} runs */
    const end = (runs) => {
      clearTimeout(timer);
      asked.removeEventListener("message", hear);
      asked.removeEventListener("error", miss);
      resolve(runs);
    };
    /** @param {MessageEvent<Answer>} event */
    const hear = ({ data }) => {
      if (data.id === id) {
        end(data.runs);
      }
    };
    const miss = () => {
      isMissing = true; // npm has not brought it
      end(null);
    };
    const timer = setTimeout(() => {
      asked.terminate();
      worker = worker === asked ? null : worker;
      end(null);
    }, LONGEST);
    asked.addEventListener("message", hear);
    asked.addEventListener("error", miss);
    asked.postMessage({ id, language, code });
  });
}

/**
 * @param {HTMLElement} code With pieces of whole lines, each an element with one text.
 * @param {Run[]} runs
 */
function draw(code, runs) {
  let place = 0;
  let left = runs[0]?.[1] ?? "";
  for (const piece of code.children) {
    let room = (piece.textContent ?? "").length;
    const nodes = [];
    while (room > 0 && place < runs.length) {
      const text = left.slice(0, room);
      nodes.push(coloured(runs[place]?.[0] ?? "", text));
      room -= text.length;
      left = left.slice(text.length);
      if (left === "") {
        place += 1;
        left = runs[place]?.[1] ?? "";
      }
    }
    piece.replaceChildren(...nodes);
  }
}

/**
 * @param {string} kind
 * @param {string} text
 */
function coloured(kind, text) {
  if (!kind) {
    return text;
  }
  const element = document.createElement("span");
  element.className = kind;
  element.textContent = text;
  return element;
}
