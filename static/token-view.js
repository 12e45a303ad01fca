/** Asks for the server's token. Knows nothing of the network. */

import { part } from "./dom.js";
import { keepToken, keptToken } from "./token.js";

const dialog = /** @type {HTMLDialogElement} */ (part(document, "#token"));
const field = /** @type {HTMLInputElement} */ (part(dialog, "input"));

/** What is done once there is a token. */
let onToken = () => {};

part(dialog, ".plain").addEventListener("click", () => dialog.close());
part(dialog, "form").addEventListener("submit", () => {
  keepToken(field.value);
  field.value = "";
  onToken();
});

/**
 * Ask for the token, unless it is being asked for.
 *
 * @param {() => void} then What is to be tried again with it.
 */
export function askForToken(then) {
  onToken = then;
  part(dialog, ".hint").textContent = keptToken()
    ? "The one that this browser has kept is not the right one, or not any more."
    : "Whoever runs the server knows it: it is what DRIPLINE_TOKEN was set to.";
  if (!dialog.open) {
    dialog.showModal();
  }
}
