/** Shows and hides the list of chats: a column on a wide page, a drawer over a narrow one. */

import { part } from "./dom.js";

const sidebar = part(document, "#sidebar");
const drawer = part(document, "#drawer");
const chat = part(document, "#chat");
const toggle = part(document, "#toggle-sidebar");
const narrow = matchMedia("(width < 48rem)");

/** The list's place. A column stays as it was left; a drawer is closed until it is asked for. */
export class Drawer {
  #wanted;
  #onWanted;

  /**
   * @param {boolean} wanted Whether a wide page shows the column.
   * @param {(wanted: boolean) => void} onWanted Whether it shows it from now on.
   */
  constructor(wanted, onWanted) {
    this.#wanted = wanted;
    this.#onWanted = onWanted;
    toggle.hidden = false;
    toggle.addEventListener("click", () => this.toggle());
    part(document, "#close-sidebar").addEventListener("click", () => this.close());
    narrow.addEventListener("change", () => this.#show(!narrow.matches && this.#wanted));
    sidebar.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && narrow.matches) {
        event.preventDefault();
        this.close();
      }
    });
    // Not "click": what was pressed may be gone by then.
    document.addEventListener("pointerdown", ({ target }) => {
      if (target instanceof Node && !sidebar.contains(target)) {
        this.close();
      }
    });
    this.#show(!narrow.matches && wanted);
    delete document.documentElement.dataset.sidebar; // until here first-paint.js has said it
  }

  /** Show the list, with the focus in it, or hide it. */
  toggle() {
    const shown = Boolean(sidebar.hidden);
    if (!narrow.matches) {
      this.#wanted = shown;
      this.#onWanted(shown);
    }
    this.#show(shown);
    if (shown) {
      sidebar.querySelector("button")?.focus();
    } else {
      toggle.focus();
    }
  }

  /** Show the list. */
  show() {
    if (sidebar.hidden) {
      this.toggle();
    }
  }

  /** Close the drawer; a column stays. */
  close() {
    if (narrow.matches && !sidebar.hidden) {
      this.toggle();
    }
  }

  /** @param {boolean} shown */
  #show(shown) {
    sidebar.hidden = !shown;
    toggle.ariaExpanded = String(shown);
    // What a drawer covers cannot be reached; the drawer has a button of its own to close it.
    chat.inert = shown && narrow.matches;
    drawer.role = chat.inert ? "dialog" : null;
    drawer.ariaModal = chat.inert ? "true" : null;
    drawer.ariaLabel = chat.inert ? "Chats" : null;
  }
}
