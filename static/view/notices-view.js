/** Draws what there is to say of the page as a whole. */

import { fromTemplate, part, showSentence } from "./dom.js";
import { problemBox } from "./problem-view.js";

/** Milliseconds for which something can be undone. */
const UNDO_TIME = 15_000;

const undo = part(document, "#undo");
/** @type {ReturnType<typeof setTimeout> | undefined} */
let undoTimer;

/**
 * Show a notice in its place above the conversation; "" takes it away.
 *
 * @param {"demo" | "store"} id
 * @param {string} sentence
 */
export function showNotice(id, sentence) {
  showSentence(part(document, `#${id}`), sentence);
  part(document, `#${id}`).hidden = !sentence;
}

/**
 * Say what is wrong with the server as a whole; null where nothing is.
 *
 * @param {import("./ways-out.js").Problem | null} problem
 * @param {Partial<Record<import("./ways-out.js").Action, () => void>>} ways What can be done.
 */
export function showTrouble(problem, ways) {
  const boxes = problem ? [problemBox(problem, ways)] : [];
  const place = part(document, "#trouble");
  place.replaceChildren(...boxes);
  place.hidden = boxes.length === 0;
}

/**
 * Have screen readers say a sentence. Answers are told at their boundaries, not token by token.
 *
 * @param {string} sentence
 */
export function announce(sentence) {
  part(document, "#announcer").textContent = sentence;
}

/**
 * Say what was done, and for a while offer to undo it.
 *
 * @param {string} sentence
 * @param {() => void} onUndo
 */
export function offerUndo(sentence, onUndo) {
  const notice = fromTemplate("undo-template");
  part(notice, "span").textContent = sentence;
  part(notice, "button").addEventListener("click", () => {
    undo.replaceChildren();
    part(document, "#message").focus();
    onUndo();
  });
  undo.replaceChildren(notice);
  announce(sentence);
  clearTimeout(undoTimer);
  undoTimer = setTimeout(() => undo.replaceChildren(), UNDO_TIME);
}

/**
 * Say something that needs no answer, such as why a file was not taken.
 *
 * @param {string} sentence
 */
export function tell(sentence) {
  const notice = fromTemplate("told-template");
  showSentence(part(notice, "span"), sentence);
  part(notice, "button").addEventListener("click", () => undo.replaceChildren());
  clearTimeout(undoTimer);
  undo.replaceChildren(notice);
  announce(sentence.replaceAll("`", ""));
}
