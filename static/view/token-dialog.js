/** Asks for the server's token. */

import { keepToken, keptToken } from "../store/token.js";
import { part } from "./dom.js";

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
    ? "The saved token is wrong, or no longer valid."
    : "Ask whoever runs the server: it is your own token, or the value of DRIPLINE_TOKEN there.";
  if (!dialog.open) {
    dialog.showModal();
  }
}
