/** Names that nobody else gives or guesses. */

/**
 * Return an id that is the same for the same text, and another for any other that somebody is likely to
 * have.
 *
 * @param {string} text
 */
export function idOf(text) {
  // FNV-1a, from four beginnings. Whoever looks for two texts with one id finds them, and finds a chat
  // that is taken for another of their own.
  const hashes = [0x811c9dc5, 0x1b873593, 0xcc9e2d51, 0x85ebca6b].map((seed) => {
    let hash = seed;
    for (let at = 0; at < text.length; at += 1) {
      hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
    }
    return (hash >>> 0).toString(36).padStart(7, "0");
  });
  return hashes.join("");
}

/** Return a new id: 128 random bits as 22 characters that fit into an address. */
export function newId() {
  // Not `randomUUID`, which is missing where the page comes over plain HTTP from another machine.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
