/**
 * A conversation: a tree of messages, of which one path is shown.
 *
 * Messages are never changed by hand: who edits one, or has it answered anew, adds an alternative
 * beside it. So nothing is lost, and two tabs cannot overwrite each other's edits.
 *
 * @typedef {import("./message.js").Message} Message
 *
 * @typedef {object} Queued A message that waits for the answer that is coming.
 * @property {string} id
 * @property {string} content
 * @property {import("./attachments.js").Attachment[]} attachments
 *
 * @typedef {object} Conversation What is kept of it, besides its messages.
 * @property {string} id
 * @property {string} title
 * @property {string | null} system Its system prompt; null takes the settings'.
 * @property {string} [model] What answered last in it.
 * @property {Record<string, string>} [options] Its own options, as they were entered, by name; see
 *   preferences.js.
 * @property {Queued[]} [queue] What is to be said next, the first one first.
 * @property {boolean} [isPinned] Whether it stands first in the list.
 * @property {boolean} [isUnread] Whether an answer has come in it that nobody has seen.
 * @property {unknown} look What it has made of the page; see page-look.js.
 * @property {string | null} leaf The last message of the path that is shown; null before the first.
 * @property {number} createdAt Milliseconds since 1970.
 * @property {number} updatedAt
 *
 * @typedef {{conversation: Conversation, messages: Message[]}} Whole A conversation with all there is.
 */

import { toldQuestion } from "./attachments.js";
import { newId } from "./ids.js";

const LONGEST_TITLE = 60;

/**
 * @param {Partial<Conversation>} [given]
 * @returns {Conversation}
 */
export function newConversation(given) {
  const now = Date.now();
  return {
    id: newId(),
    title: "",
    system: null,
    look: null,
    leaf: null,
    createdAt: now,
    updatedAt: now,
    ...given,
  };
}

/**
 * Return what a conversation is called after its first message: its first words, on one line.
 *
 * @param {string} text
 */
export function titleOf(text) {
  const line = text.trim().replaceAll(/\s+/g, " ");
  if (line.length <= LONGEST_TITLE) {
    return line;
  }
  const cut = line.slice(0, LONGEST_TITLE);
  const blank = cut.lastIndexOf(" ");
  // Half of an emoji at the cut is no character.
  return `${(blank > LONGEST_TITLE / 2 ? cut.slice(0, blank) : cut).replace(/[\uD800-\uDBFF]$/, "")}…`;
}

/**
 * Return a conversation under ids that nobody has.
 *
 * @param {Whole} whole
 * @returns {Whole}
 */
export function withNewIds({ conversation, messages }) {
  const id = newId();
  const ids = new Map(messages.map((message) => [message.id, newId()]));
  /** @param {string | null} old */
  const renamed = (old) => (old === null ? null : (ids.get(old) ?? null));
  return {
    conversation: { ...conversation, id, leaf: renamed(conversation.leaf) },
    messages: messages.map((message) => ({
      ...message,
      id: ids.get(message.id) ?? "",
      parent: renamed(message.parent),
      conversation: id,
    })),
  };
}

/** The messages of one conversation, and the alternatives among them. */
export class Tree {
  /** @type {Map<string, Message>} */
  #messages = new Map();
  /** @type {Map<string | null, Message[]>} In the order in which they were made. */
  #children = new Map();

  /** @param {Iterable<Message>} [messages] In any order. */
  constructor(messages = []) {
    for (const message of [...messages].sort((one, other) => one.createdAt - other.createdAt)) {
      this.put(message);
    }
  }

  /** All of them, parents before their children where they were put in that order. */
  get messages() {
    return [...this.#messages.values()];
  }

  /** @param {string | null} id */
  get(id) {
    return id === null ? undefined : this.#messages.get(id);
  }

  /**
   * Add a message, or put a newer copy in the old one's place.
   *
   * @param {Message} message
   */
  put(message) {
    const siblings = this.#children.get(message.parent) ?? [];
    const place = siblings.findIndex(({ id }) => id === message.id);
    siblings.splice(place < 0 ? siblings.length : place, place < 0 ? 0 : 1, message);
    this.#children.set(message.parent, siblings);
    this.#messages.set(message.id, message);
  }

  /**
   * Take out a message that nothing follows, if it is there.
   *
   * @param {string} id
   */
  remove(id) {
    const message = this.#messages.get(id);
    if (message) {
      this.#messages.delete(id);
      this.#children.set(message.parent, this.siblings(message).filter((other) => other !== message));
    }
  }

  /**
   * Return the messages from the first to the given one.
   *
   * @param {string | null} leaf
   */
  path(leaf) {
    /** @type {Message[]} */
    const path = [];
    // A tree from outside may have a circle, which has no path longer than all there is.
    for (let at = this.get(leaf); at && path.length < this.#messages.size; at = this.get(at.parent)) {
      path.push(at);
    }
    return path.reverse();
  }

  /**
   * Return a message and its alternatives, oldest first.
   *
   * @param {Message} message
   */
  siblings({ parent }) {
    return this.#children.get(parent) ?? [];
  }

  /** @param {Message} message */
  hasChildren({ id }) {
    return (this.#children.get(id) ?? []).length > 0;
  }

  /**
   * Return the end of the path that was last gone on from a message.
   *
   * @param {Message} message
   */
  leafBelow(message) {
    let leaf = message;
    for (let left = this.#messages.size; left > 0; left -= 1) {
      const next = this.#children.get(leaf.id)?.at(-1);
      if (!next) {
        break;
      }
      leaf = next;
    }
    return leaf;
  }
}

/**
 * Return a path as `POST /chat` takes it: no thinking, and no answer of which nothing came.
 *
 * @param {Message[]} path
 * @param {object} how
 * @param {string} how.system The system prompt; "" is none.
 * @param {boolean} how.images Whether the model sees.
 */
export function requestMessages(path, { system, images }) {
  const messages = path.flatMap((message) => {
    if (message.role === "assistant") {
      return toldAnswer(message);
    }
    const { role, images: pictures } = message;
    const content = toldQuestion(message);
    return [{ role, content, ...(images && pictures.length > 0 && { images: pictures }) }];
  });
  return system ? [{ role: "system", content: system }, ...messages] : messages;
}

/**
 * Return an answer as the messages that Ollama takes: what it said before each of its rounds of tool
 * calls with these, then what the tools gave. Calls that nobody answered are left out.
 *
 * @param {Message} message
 */
function toldAnswer({ content, toolCalls, toolResults }) {
  const results = new Map(toolResults.map((result) => [result.id, result]));
  const answered = toolCalls.filter(({ id }) => results.has(id));
  // Of an older page's calls each is a round.
  const rounds = Map.groupBy(answered, ({ after }, place) => after ?? place);
  let told = 0;
  const messages = [...rounds.values()].flatMap((calls) => {
    const end = calls.at(-1)?.at ?? told;
    const said = content.slice(told, end);
    told = end;
    return [
      { role: "assistant", content: said, tool_calls: calls.map(toldCall) },
      ...calls.map(({ id, name }) => ({
        role: "tool",
        tool_name: name,
        tool_call_id: id,
        content: results.get(id)?.content ?? "",
      })),
    ];
  });
  const rest = content.slice(told);
  return rest ? [...messages, { role: "assistant", content: rest }] : messages;
}

/** @param {import("./message.js").ToolCall} call */
function toldCall({ id, name, arguments: given }) {
  return { id, function: { name, arguments: given ?? {} } };
}
