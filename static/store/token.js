/** The token of a server that asks for one, kept in this browser. */

import { browserStorage } from "./storage.js";

const KEY = "dripline.token";

/** What holds until the page closes, where the browser keeps nothing. */
let token = "";

/** Return the token; "" where none is kept. */
export function keptToken() {
  return browserStorage()?.getItem(KEY) ?? token;
}

/** @param {string} text "" forgets it. */
export function keepToken(text) {
  token = text.trim();
  try {
    if (token) {
      browserStorage()?.setItem(KEY, token);
    } else {
      browserStorage()?.removeItem(KEY);
    }
  } catch {
    // Full.
  }
}
