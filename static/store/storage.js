/** Where the browser keeps short texts: settings, the token. */

/**
 * Keep how the open conversation looks, for first-paint.js: read from the database, it would come late.
 *
 * @param {string} id The conversation's.
 * @param {string} style CSS of the root element.
 */
export function keepForFirstPaint(id, style) {
  try {
    sessionStorage.setItem("dripline.look", JSON.stringify({ id, style }));
  } catch {
    // Not allowed, or full: the look comes a moment later.
  }
}

/** Return the place; null where the browser does not let this page keep any. */
export function browserStorage() {
  try {
    return localStorage;
  } catch {
    return null;
  }
}
