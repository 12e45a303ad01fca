/** The token of a server that asks for one, kept in this browser. Knows neither the DOM nor the network. */

const KEY = "dripline.token";

/** What holds until the page closes, where the browser keeps nothing. */
let token = "";

/** Return the token; "" where none is kept. */
export function keptToken() {
  try {
    return localStorage.getItem(KEY) ?? token;
  } catch {
    return token; // not allowed
  }
}

/** @param {string} text "" forgets it. */
export function keepToken(text) {
  token = text.trim();
  try {
    if (token) {
      localStorage.setItem(KEY, token);
    } else {
      localStorage.removeItem(KEY);
    }
  } catch {
    // Full, or not allowed.
  }
}
