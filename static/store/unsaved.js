/**
 * What the database has not taken yet when the page is closed. A browser may end the page before a
 * database has written anything, but it keeps short texts (`localStorage`) at once.
 *
 * @typedef {import("../chat/draft-keeper.js").Draft} Draft
 * @typedef {import("../chat/message.js").Message} Message
 * @typedef {Omit<Draft, "attachments"> & {isEmpty: boolean, isUnread: boolean}} DraftText A draft's attachments
 *   are kept when they are added, and would not fit here. Unread is one that was written before the kept
 *   one was read: it comes behind that.
 * @typedef {{messages: Omit<Message, "images">[], drafts: DraftText[]}} Unsaved
 */

import { newId } from "../chat/ids.js";
import { browserStorage } from "./storage.js";

const PREFIX = "dripline.unsaved.";
/** Each tab has a place of its own. */
const KEY = PREFIX + newId();

/** @param {Unsaved} unsaved */
export function keepUnsaved(unsaved) {
  try {
    browserStorage()?.setItem(KEY, JSON.stringify(unsaved));
  } catch {
    // Full: what the database has is what there is.
  }
}

/** Forget what this tab has kept: it was not closed after all. */
export function forgetUnsaved() {
  browserStorage()?.removeItem(KEY);
}

/**
 * Take out what tabs kept when they were closed.
 *
 * @returns {Unsaved[]}
 */
export function takeUnsaved() {
  const storage = browserStorage();
  const keys = Object.keys(storage ?? {}).filter((key) => key.startsWith(PREFIX) && key !== KEY);
  return keys.flatMap((key) => {
    const text = storage?.getItem(key) ?? "";
    storage?.removeItem(key);
    try {
      return [JSON.parse(text)];
    } catch {
      return []; // cut off, or nobody's
    }
  });
}
