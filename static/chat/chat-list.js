/**
 * The list of conversations: in which group each is, and what was found in it.
 *
 * @typedef {import("./conversation.js").Conversation} Conversation
 *
 * @typedef {object} Snippet A piece of a text around what was looked for.
 * @property {string} before
 * @property {string} match
 * @property {string} after
 *
 * @typedef {{conversation: Conversation, snippet: Snippet | null}} Found
 */

const DAY = 24 * 60 * 60 * 1000;
/** Characters of a snippet before what was found, and after it. */
const BEFORE = 30;
const AFTER = 90;

/**
 * Return the name of the group in which a conversation stands.
 *
 * @param {Conversation} conversation
 * @param {number} now
 */
export function groupOf({ isPinned, updatedAt }, now) {
  if (isPinned) {
    return "Pinned";
  }
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  if (updatedAt >= midnight) {
    return "Today";
  }
  if (updatedAt >= midnight - DAY) {
    return "Yesterday";
  }
  if (updatedAt >= midnight - 7 * DAY) {
    return "Previous 7 days";
  }
  return new Date(updatedAt).toLocaleDateString("en-GB", { month: "long", year: "numeric" });
}

/**
 * Return the time of a conversation as it stands beside it: "14:05" today, else "3 Nov".
 *
 * @param {number} time
 * @param {number} now
 */
export function shortTime(time, now) {
  const date = new Date(time);
  return time >= new Date(now).setHours(0, 0, 0, 0)
    ? date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })
    : date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

/**
 * Return the piece of a text around what was looked for, on one line; null where it is not there.
 *
 * @param {string} text
 * @param {string} wanted In small letters.
 * @returns {Snippet | null}
 */
export function snippetOf(text, wanted) {
  const place = text.toLowerCase().indexOf(wanted);
  if (place < 0) {
    return null;
  }
  const start = Math.max(0, place - BEFORE);
  const end = Math.min(text.length, place + wanted.length + AFTER);
  /** @param {string} piece */
  const line = (piece) => piece.replaceAll(/\s+/g, " ");
  return {
    before: (start > 0 ? "…" : "") + line(text.slice(start, place)).trimStart(),
    match: line(text.slice(place, place + wanted.length)),
    after: line(text.slice(place + wanted.length, end)).trimEnd() + (end < text.length ? "…" : ""),
  };
}

/**
 * Return the first piece of a message around what was looked for: of its words, or of its files.
 *
 * @param {Pick<import("./message.js").Message, "content" | "files">} message
 * @param {string} wanted In small letters.
 */
export function snippetOfMessage({ content, files = [] }, wanted) {
  for (const text of [content, ...files.flatMap(({ name, text }) => [name, text])]) {
    const snippet = snippetOf(text, wanted);
    if (snippet) {
      return snippet;
    }
  }
  return null;
}
