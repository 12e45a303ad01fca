/** Names that nobody else gives or guesses. */

/** Return a new id: 128 random bits as 22 characters that fit into an address. */
export function newId() {
  // Not `randomUUID`, which is missing where the page comes over plain HTTP from another machine.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
