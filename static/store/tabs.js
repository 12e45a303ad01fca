/**
 * What this page's other tabs are told, and what they tell: that something was kept, and can be read
 * again.
 *
 * @typedef {object} News
 * @property {"conversation" | "message" | "conversation-removed" | "message-removed" | "imported"} kind
 * @property {string} conversation
 * @property {string} id Of what it is about; after an import, one of several.
 */

/** The other tabs of this browser. Where it has no way to them, nothing is said or heard. */
export class Tabs {
  /** @type {BroadcastChannel | null} */
  #channel = null;

  /** @param {(news: News) => void} onNews */
  constructor(onNews) {
    try {
      this.#channel = new BroadcastChannel("dripline");
      this.#channel.onmessage = ({ data }) => onNews(data);
    } catch {
      // Not allowed here: each tab is on its own.
    }
  }

  /** @param {News} news */
  tell(news) {
    this.#channel?.postMessage(news);
  }
}
