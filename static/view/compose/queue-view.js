/** Draws the messages that wait for the answer that is coming. */

import { fromTemplate, part } from "../dom.js";

/** @typedef {import("../../chat/conversation.js").Queued} Queued */

const list = part(document, "#queue");

/**
 * Show the messages that wait.
 *
 * @param {Queued[]} queue
 * @param {boolean} canSend Whether nothing is being answered: each can be sent now.
 * @param {object} handlers
 * @param {(queued: Queued) => void} handlers.onTakeBack It is to be written again.
 * @param {(queued: Queued) => void} handlers.onSend
 */
export function showQueue(queue, canSend, { onTakeBack, onSend }) {
  list.hidden = queue.length === 0;
  list.replaceChildren(
    ...queue.map((queued) => {
      const item = fromTemplate("queued-template");
      const names = queued.attachments.map(({ name }) => name).join(", ");
      part(item, ".said").textContent = [queued.content, names].filter(Boolean).join(" · ");
      part(item, ".send-now").hidden = !canSend;
      part(item, ".send-now").addEventListener("click", () => onSend(queued));
      part(item, ".take-back").addEventListener("click", () => onTakeBack(queued));
      return item;
    }),
  );
}
