/**
 * How large a text is to whoever draws it: a line costs something, however short it is.
 */

import { wholeCharacters } from "./tree.js";

/** What a line costs besides its characters, in characters. */
const LINE = 32;

/** @param {string} text */
export function sizeOf(text) {
  let size = text.length;
  for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n", end + 1)) {
    size += LINE;
  }
  return size;
}

/**
 * Return a text's beginning up to a size: what comes after it does not change it.
 *
 * @param {string} text
 * @param {number} size
 */
export function beginning(text, size) {
  let at = 0;
  for (let left = size; left > 0 && at < text.length; ) {
    const found = text.indexOf("\n", at);
    const end = found === -1 ? text.length : found;
    if (end - at >= left) {
      return text.slice(0, wholeCharacters(text, at + left));
    }
    left -= end + 1 - at + LINE;
    at = Math.min(end + 1, text.length);
  }
  return text.slice(0, at);
}
