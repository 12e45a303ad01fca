/** Draws the messages of the open conversation. */

import { arrange, part } from "../dom.js";
import { MessageView } from "./message-view.js";

/**
 * @typedef {import("../../chat/app.js").Shown} Shown
 * @typedef {import("../../chat/message.js").Message} Message
 */

const log = part(document, "#log");
const welcome = part(document, "#welcome");

/** So many messages are in a group, which the browser leaves out as a whole while it is out of sight. */
const GROUP = 10;
/** The newest messages, at least so many, are in no group. */
const NEWEST = 10;

/** One path of messages. What stays on the page is not drawn again. */
export class MessagesView {
  /** @type {Map<string, MessageView>} By the message's id, in their order. */
  #views = new Map();
  /** @type {import("./message-view.js").MessageHandlers} */
  #handlers;
  /** @type {Shown[] | null} What is to be shown once an edit is over. */
  #held = null;

  /**
   * @param {Omit<import("./message-view.js").MessageHandlers, "onEditEnd">} handlers
   * @param {(text: string) => void} onSuggestion A suggested message was pressed.
   */
  constructor(handlers, onSuggestion) {
    this.#handlers = { ...handlers, onEditEnd: () => this.#held && this.show(this.#held) };
    part(welcome, ".chips").addEventListener("click", ({ target }) => {
      if (target instanceof HTMLButtonElement) {
        onSuggestion(target.textContent ?? "");
      }
    });
  }

  /**
   * Show these messages in place of those before. A message that is being put in other words stays
   * until that is over: another tab may have changed what follows.
   *
   * @param {Shown[]} path
   */
  show(path) {
    this.#held = this.#wouldLoseEdit(path) ? path : null;
    if (this.#held) {
      return;
    }
    const views = path.map(({ message }) => this.#viewOf(message));
    const pressed = /** @type {HTMLElement | null} */ (document.activeElement);
    const held = [...this.#views.values()].findIndex(({ element }) => element.contains(pressed));
    arrangeInGroups(views.map(({ element }) => element));
    this.#views = new Map(views.map((view) => [view.message.id, view]));
    path.forEach((shown, place) => views[place]?.show(shown, place === path.length - 1));
    welcome.hidden = path.length > 0;
    if (held >= 0 && !pressed?.isConnected) {
      // Another version stands in the place of the one whose button was pressed.
      views[held]?.focusAction(pressed?.dataset.does ?? "");
    }
  }

  /**
   * Draw what a message has taken, if it is among those shown.
   *
   * @param {Message} message
   * @param {import("../../net/run-stream.js").NumberedEvent[]} events
   */
  add(message, events) {
    this.#views.get(message.id)?.add(events);
  }

  /**
   * @param {Message} message
   * @param {import("../../chat/answering.js").Activity | null} activity
   */
  showActivity(message, activity) {
    this.#views.get(message.id)?.showActivity(activity);
  }

  /**
   * Go on with an edit that was begun before the page was left, if the message is shown.
   *
   * @param {string} id The message's.
   * @param {string} text What was made of it.
   */
  edit(id, text) {
    this.#views.get(id)?.edit(text);
  }

  /** Have the last question put in other words. Returns whether there is one. */
  editLast() {
    const last = [...this.#views.values()].findLast(({ message }) => message.role === "user");
    last?.edit();
    return last !== undefined;
  }

  /** Copy the last answer. Returns whether there is one. */
  copyLast() {
    const last = [...this.#views.values()].findLast(({ message }) => message.role === "assistant");
    last?.copy();
    return last !== undefined;
  }

  /** @param {Shown[]} path */
  #wouldLoseEdit(path) {
    const edited = [...this.#views.values()].find(({ isEdited }) => isEdited)?.message;
    const same = path[0]?.message.conversation === edited?.conversation;
    return edited !== undefined && same && !path.some(({ message }) => message.id === edited.id);
  }

  /** @param {Message} message */
  #viewOf(message) {
    const view = this.#views.get(message.id);
    const same = view?.message === message && view.attempt === message.attempt;
    return view && (same || view.isEdited) ? view : new MessageView(message, this.#handlers);
  }
}

/**
 * Have the log hold these messages. A frame costs the browser something for each box of a page, also
 * for those out of sight; so it is given few: older messages are in groups.
 *
 * @param {HTMLElement[]} messages
 */
function arrangeInGroups(messages) {
  const count = Math.max(0, Math.floor((messages.length - NEWEST) / GROUP));
  const had = [...log.children].filter((child) => child.matches(".group"));
  const groups = Array.from({ length: count }, (_, place) => had[place] ?? createGroup());
  arrange(log, [...groups, ...messages.slice(count * GROUP)]);
  groups.forEach((group, place) => {
    arrange(group, messages.slice(place * GROUP, (place + 1) * GROUP));
  });
}

function createGroup() {
  const group = document.createElement("div");
  group.className = "group";
  return group;
}
