/** Draws the list of conversations, and hears what is to be done with them. */

import { fromTemplate, isComposing, part } from "./dom.js";
import { listenToListKeys, rove } from "./list-keys.js";

/** @typedef {import("../chat/conversation.js").Conversation} Conversation */

/** Milliseconds after the last key, before texts are searched. */
const SEARCH_AFTER = 150;

const list = part(document, "#chats");
const none = part(document, "#no-chats");
const search = /** @type {HTMLInputElement} */ (part(document, "#search"));
const picker = /** @type {HTMLInputElement} */ (part(document, "#import-files"));

/** The conversations by name. Entries that stay keep their elements, and so the focus. */
export class ConversationList {
  #handlers;
  /** @type {Map<string, HTMLElement>} */
  #items = new Map();

  /**
   * @param {object} handlers
   * @param {() => void} handlers.onNew
   * @param {(id: string) => void} handlers.onOpen
   * @param {(id: string, title: string) => void} handlers.onRename
   * @param {(id: string) => void} handlers.onDelete
   * @param {() => void} handlers.onSearch Another text is looked for.
   * @param {(files: File[]) => void} handlers.onImport
   * @param {(what: "markdown" | "json" | "all") => void} handlers.onExport
   */
  constructor(handlers) {
    this.#handlers = handlers;
    part(document, "#new-chat").addEventListener("click", handlers.onNew);
    part(document, "#import").addEventListener("click", () => picker.click());
    picker.addEventListener("change", () => {
      handlers.onImport([...(picker.files ?? [])]);
      picker.value = ""; // the same file can be taken again
    });
    part(document, "#export").addEventListener("click", ({ target }) => {
      const what = target instanceof HTMLElement ? target.dataset.export : undefined;
      if (what === "markdown" || what === "json" || what === "all") {
        handlers.onExport(what);
        part(document, "#export").removeAttribute("open");
      }
    });
    this.#listenToSearch();
    listenToListKeys();
  }

  /** What is looked for; "" where nothing is. */
  get searched() {
    return search.value;
  }

  /** Put the focus where one searches. */
  focusSearch() {
    search.focus();
    search.select();
  }

  /**
   * Show conversations in place of those before.
   *
   * @param {Conversation[]} conversations
   * @param {string} current The id of the open one.
   * @param {(id: string) => boolean} isBusy Whether an answer comes in one.
   */
  show(conversations, current, isBusy) {
    const items = new Map(conversations.map(({ id }) => [id, this.#items.get(id) ?? this.#item(id)]));
    for (const [id, item] of this.#items) {
      if (!items.has(id)) {
        item.remove();
      }
    }
    this.#items = items;
    conversations.forEach(({ id, title }, place) => {
      const item = /** @type {HTMLElement} */ (items.get(id));
      if (list.children[place] !== item) {
        list.insertBefore(item, list.children[place] ?? null);
      }
      label(item, title);
      part(item, ".open").ariaCurrent = String(id === current);
      item.classList.toggle("current", id === current);
      item.classList.toggle("busy", isBusy(id));
    });
    rove();
    none.textContent = conversations.length > 0 ? "" : search.value ? "Nothing found." : "No chats yet.";
  }

  /** @param {string} id */
  #item(id) {
    const item = fromTemplate("chat-template");
    part(item, ".open").addEventListener("click", () => this.#handlers.onOpen(id));
    part(item, ".rename").addEventListener("click", () => this.#rename(id, item));
    part(item, ".delete").addEventListener("click", () => {
      // The focus would be lost with the button.
      const next = /** @type {HTMLElement | null} */ (item.nextElementSibling ?? item.previousElementSibling);
      (next?.querySelector("button") ?? search).focus();
      this.#handlers.onDelete(id);
    });
    return item;
  }

  /**
   * Have a title written in place of the old one.
   *
   * @param {string} id
   * @param {HTMLElement} item
   */
  #rename(id, item) {
    const open = part(item, ".open");
    const field = /** @type {HTMLInputElement} */ (fromTemplate("rename-template"));
    field.value = open.textContent ?? "";
    open.hidden = true;
    open.before(field);
    field.select();
    field.focus();
    let over = false;
    /** @param {boolean} keep */
    const end = (keep) => {
      if (!over) {
        over = true; // taking the field out makes it lose the focus
        field.remove();
        open.hidden = false;
        if (keep) {
          this.#handlers.onRename(id, field.value);
        }
      }
    };
    field.addEventListener("blur", () => end(true));
    field.addEventListener("keydown", (event) => {
      if (isComposing(event) || (event.key !== "Enter" && event.key !== "Escape")) {
        return;
      }
      event.preventDefault();
      event.stopPropagation();
      end(event.key === "Enter");
      open.focus();
    });
  }

  #listenToSearch() {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.#handlers.onSearch(), SEARCH_AFTER);
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && search.value) {
        event.preventDefault();
        search.value = "";
        this.#handlers.onSearch();
      }
    });
  }
}

/**
 * @param {HTMLElement} item
 * @param {string} title
 */
function label(item, title) {
  const open = part(item, ".open");
  if (open.textContent !== title) {
    open.textContent = title;
    open.title = title;
    for (const [name, verb] of [["rename", "Rename"], ["delete", "Delete"]]) {
      const button = part(item, `.${name}`);
      button.ariaLabel = `${verb} ${title}`;
      button.title = verb ?? "";
    }
  }
}
