/** Draws the list of conversations, and hears what is to be done with them. */

import { groupOf, shortTime } from "../chat/chat-list.js";
import { arrange, fromTemplate, isComposing, part } from "./dom.js";
import { listenToListKeys, rove } from "./list-keys.js";

/**
 * @typedef {import("../chat/conversation.js").Conversation} Conversation
 * @typedef {import("../chat/chat-list.js").Found} Found
 */

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
  /** @type {Map<string, HTMLElement>} By their words. */
  #headings = new Map();

  /**
   * @param {object} handlers
   * @param {() => void} handlers.onNew
   * @param {(id: string) => void} handlers.onOpen
   * @param {(id: string, title: string) => void} handlers.onRename
   * @param {(id: string) => void} handlers.onPin It is to stand first, or not any more.
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
   * @param {Found[]} found
   * @param {string} current The id of the open one.
   * @param {(id: string) => boolean} isBusy Whether an answer comes in one.
   */
  show(found, current, isBusy) {
    const now = Date.now();
    /** @type {HTMLElement[]} */
    const shown = [];
    let group = "";
    const items = new Map();
    for (const { conversation, snippet } of found) {
      const { id } = conversation;
      const item = this.#items.get(id) ?? this.#item(id);
      items.set(id, item);
      const ownGroup = groupOf(conversation, now);
      // What was found stands under no dates.
      if (!search.value && ownGroup !== group) {
        group = ownGroup;
        shown.push(this.#heading(group));
      }
      shown.push(item);
      draw(item, conversation, snippet, now);
      part(item, ".open").ariaCurrent = String(id === current);
      item.classList.toggle("current", id === current);
      item.classList.toggle("busy", isBusy(id));
    }
    this.#items = items;
    arrange(list, shown);
    rove();
    none.textContent = found.length > 0 ? "" : search.value ? "Nothing found." : "No chats yet.";
  }

  /** @param {string} name */
  #heading(name) {
    const heading = this.#headings.get(name) ?? fromTemplate("chat-group-template");
    part(heading, "h3").textContent = name;
    this.#headings.set(name, heading);
    return heading;
  }

  /** @param {string} id */
  #item(id) {
    const item = fromTemplate("chat-template");
    part(item, ".open").addEventListener("click", () => this.#handlers.onOpen(id));
    part(item, ".snippet").addEventListener("click", () => this.#handlers.onOpen(id));
    part(item, ".pin").addEventListener("click", () => this.#handlers.onPin(id));
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
 * @param {Conversation} conversation
 * @param {import("../chat/chat-list.js").Snippet | null} snippet
 * @param {number} now
 */
function draw(item, { title, updatedAt, isPinned = false, isUnread = false }, snippet, now) {
  label(item, title);
  part(item, ".when").textContent = shortTime(updatedAt, now);
  part(item, ".when").title = new Date(updatedAt).toLocaleString("en-GB");
  const pin = part(item, ".pin");
  pin.ariaPressed = String(isPinned);
  pin.ariaLabel = `Pin ${title}`;
  pin.title = isPinned ? "Unpin" : "Pin";
  item.classList.toggle("pinned", isPinned);
  item.classList.toggle("unread", isUnread);
  part(item, ".new").textContent = isUnread ? "New answer" : "";
  const place = part(item, ".snippet");
  place.hidden = !snippet;
  if (snippet) {
    const mark = document.createElement("mark");
    mark.textContent = snippet.match;
    place.replaceChildren(snippet.before, mark, snippet.after);
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
