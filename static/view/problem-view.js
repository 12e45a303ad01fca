/** Draws what went wrong: a sentence, a line to copy, and what can be done. */

import { copyOnClick } from "./copying.js";
import { fromTemplate, part, showSentence } from "./dom.js";
import { wayOut } from "./ways-out.js";

/**
 * @typedef {import("./ways-out.js").Action} Action
 * @typedef {import("./ways-out.js").Problem} Problem
 */

/** @type {Readonly<Record<Action, string>>} */
const NAMES = {
  retry: "Try again",
  continue: "Continue",
  settings: "Open settings",
  model: "Choose another model",
  models: "Get a model",
  token: "Enter the token",
  "new-chat": "New chat",
  reload: "Reload the page",
};

/**
 * Return a box that tells a problem. It is an alert: screen readers say it once it is in the page.
 *
 * @param {Problem} problem
 * @param {Partial<Record<Action, () => void>>} handlers What can be done here; the rest is not offered.
 */
export function problemBox(problem, handlers) {
  const box = fromTemplate("problem-template");
  const { actions, advice, command } = wayOut(problem);
  showSentence(part(box, ".sentence"), [problem.message, advice].filter(Boolean).join(" "));
  if (command) {
    part(box, ".command code").textContent = command;
    copyOnClick(part(box, ".command button"), () => command);
  }
  part(box, ".command").hidden = !command;
  part(box, ".ways").append(
    ...actions.flatMap((action) => {
      const handler = handlers[action];
      return handler ? [button(NAMES[action], handler)] : [];
    }),
  );
  return box;
}

/**
 * @param {string} name
 * @param {() => void} onClick
 */
function button(name, onClick) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = name;
  made.addEventListener("click", onClick);
  return made;
}
