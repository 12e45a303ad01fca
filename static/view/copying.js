/** Buttons that copy a text, and say that they have. */

/** For how long a button says so, in milliseconds. */
const SAID_FOR = 2000;

/**
 * Have a button copy a text.
 *
 * @param {HTMLElement} button
 * @param {() => string} text Asked when it is pressed.
 */
export function copyOnClick(button, text) {
  const label = button.textContent;
  let said = 0;
  button.addEventListener("click", async () => {
    // A status would be read too late; a button's own new text is read while it has the focus.
    button.textContent = (await copy(text())) ? "Copied" : "Not copied";
    clearTimeout(said);
    said = setTimeout(() => (button.textContent = label), SAID_FOR);
  });
}

/**
 * Put a text on the clipboard, and beside it the same as a document for whatever takes one; returns
 * whether the browser allowed it.
 *
 * @param {string} text
 * @param {string} html
 */
export async function copyRich(text, html) {
  try {
    const blobs = Object.entries({ "text/plain": text, "text/html": html }).map(([type, content]) => [
      type,
      new Blob([content], { type }),
    ]);
    await navigator.clipboard.write([new ClipboardItem(Object.fromEntries(blobs))]);
    return true;
  } catch {
    return copy(text);
  }
}

/**
 * Show for a while that a button has done what it does.
 *
 * @param {HTMLElement} button
 */
export function showDone(button) {
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), SAID_FOR);
}

/**
 * Put a text on the clipboard; returns whether the browser allowed it.
 *
 * @param {string} text
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/**
 * The old way, for a page that is neither on this machine nor came by HTTPS.
 *
 * @param {string} text
 */
function copyBySelection(text) {
  const focused = document.activeElement;
  const field = document.createElement("textarea");
  field.className = "visually-hidden";
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) {
    focused.focus();
  }
  return copied;
}
