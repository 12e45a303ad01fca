/** Which conversation the page's address names: after a reload, and in another tab, it is the same. */

/** The id in the address; "" where there is none. */
export function addressed() {
  return location.hash.slice(1);
}

/**
 * Have the address name a conversation.
 *
 * @param {string} id "" for a new one, of which nothing is kept yet.
 * @param {boolean} [replace] Whether the Back button does not lead to what was before.
 */
export function address(id, replace = false) {
  if (id !== addressed()) {
    const url = id ? `#${id}` : location.pathname + location.search;
    history[replace ? "replaceState" : "pushState"](null, "", url);
  }
}
