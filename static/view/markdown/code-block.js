/** A block of code with its language, and buttons that wrap its lines, fold it and copy it. */

import { copyOnClick } from "../copying.js";
import { fromTemplate, part } from "../dom.js";

/**
 * Return the block, and the element that its code goes into.
 *
 * @param {string} language "" where it is not said.
 */
export function createCodeBlock(language) {
  const dom = fromTemplate("code-template");
  const inside = part(dom, "code");
  inside.dataset.language = language;
  part(dom, ".language").textContent = language || "code";
  // The last line end belongs to the fence: pasted into a shell it would run the line.
  copyOnClick(part(dom, ".copy"), () => (inside.textContent ?? "").replace(/\n$/, ""));
  toggleOnClick(part(dom, ".wrap"), dom, "wrapped");
  toggleOnClick(part(dom, ".fold"), dom, "folded");
  return { dom, inside };
}

/**
 * @param {HTMLElement} button
 * @param {HTMLElement} block
 * @param {string} state The class that it sets and takes away.
 */
function toggleOnClick(button, block, state) {
  button.addEventListener("click", () => {
    button.ariaPressed = String(block.classList.toggle(state));
  });
}
