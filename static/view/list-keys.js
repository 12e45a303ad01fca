/** Moves the focus in the list of chats: it is one stop of the Tab key, however many chats there are. */

import { part } from "./dom.js";

const list = part(document, "#chats");

/** Have exactly one chat be reached by Tab: the one that had the focus, else the open one, else the first. */
export function rove() {
  const opens = /** @type {HTMLElement[]} */ ([...list.querySelectorAll("li .open")]);
  const stop =
    opens.find((open) => open.closest("li")?.contains(document.activeElement)) ??
    opens.find((open) => open.ariaCurrent === "true") ??
    opens[0];
  for (const open of opens) {
    open.tabIndex = open === stop ? 0 : -1;
  }
}

/**
 * Listen to the keys of the list: up and down go from chat to chat, left and right to what can be done
 * with one; F2 renames, Delete deletes, Ctrl+Z undoes that.
 */
export function listenToListKeys() {
  list.addEventListener("focusin", rove);
  list.addEventListener("keydown", (event) => {
    const item = event.target instanceof HTMLButtonElement && event.target.closest("li");
    if (!item || event.altKey) {
      return;
    }
    if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      document.querySelector("#undo button")?.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    } else if (!event.ctrlKey && !event.metaKey && press(event.key, item, event.target)) {
      event.preventDefault();
    }
  });
}

/**
 * @param {string} key
 * @param {Element} item
 * @param {EventTarget | null} target
 */
function press(key, item, target) {
  const items = [...list.querySelectorAll("li")].filter((other) => other.querySelector(".open"));
  const place = items.indexOf(/** @type {HTMLLIElement} */ (item));
  const buttons = [...item.querySelectorAll("button")].filter((button) => !button.hidden);
  const button = buttons.indexOf(/** @type {HTMLButtonElement} */ (target));
  switch (key) {
    case "ArrowDown":
    case "ArrowUp":
      return focusOn(items[place + (key === "ArrowDown" ? 1 : -1)]?.querySelector(".open"));
    case "Home":
      return focusOn(items[0]?.querySelector(".open"));
    case "End":
      return focusOn(items.at(-1)?.querySelector(".open"));
    case "ArrowRight":
      return focusOn(buttons[button + 1]);
    case "ArrowLeft":
      return focusOn(button > 0 ? buttons[button - 1] : null);
    case "F2":
      part(item, ".rename").click();
      return true;
    case "Delete":
      part(item, ".delete").click();
      return true;
    default:
      return false;
  }
}

/** @param {Element | null | undefined} element */
function focusOn(element) {
  if (element instanceof HTMLElement) {
    element.focus();
  }
  return true;
}
