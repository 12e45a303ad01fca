/** A block of code with its language and a button that copies it. */

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
  part(dom, ".language").textContent = language || "code";
  copyOnClick(part(dom, "button"), () => inside.textContent ?? "");
  return { dom, inside };
}
