/** Gives the person a file to keep. */

/**
 * Have the browser save a text as a file.
 *
 * @param {string} name
 * @param {string} type
 * @param {string} text
 */
export function saveFile(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  // Not at once: the browser reads it after the click.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * Return a file's name for a title: what file systems do not take, or shells stumble over, is left out.
 *
 * @param {string} title
 * @param {string} ending
 */
export function fileName(title, ending) {
  const plain = title.normalize("NFC").replaceAll(/[^\p{L}\p{N}]+/gu, "-").replaceAll(/^-+|-+$/g, "");
  return `${plain.slice(0, 60) || "chat"}.${ending}`;
}
