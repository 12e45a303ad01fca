/** Where the browser keeps short texts: settings, the token. */

/** Return the place; null where the browser does not let this page keep any. */
export function browserStorage() {
  try {
    return localStorage;
  } catch {
    return null;
  }
}
