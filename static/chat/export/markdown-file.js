/**
 * A conversation as a Markdown file that people can read, written and read. It has the shown path:
 * what was said, and the pictures.
 */

import { toldQuestion } from "../attachments.js";
import { newConversation, titleOf, Tree } from "../conversation.js";
import { idOf } from "../ids.js";
import { newMessage } from "../message.js";

/** @typedef {import("../conversation.js").Whole} Whole */

/** @type {Readonly<Record<string, "user" | "assistant" | "system">>} */
const ROLES = { You: "user", Assistant: "assistant", System: "system" };
const HEADING = /^## (You|Assistant|System)$/;
// A message's own line that looks like a heading of ours gets a backslash, as is Markdown's way.
const ESCAPED = /^\\+## (You|Assistant|System)$/;
const LIKE_HEADING = /^\\*## (You|Assistant|System)$/;
const PICTURE = /^!\[Picture\]\(data:image;base64,([A-Za-z0-9+/]*={0,2})\)$/;

/** A file that is no conversation; the message says where and why. */
export class BadMarkdown extends Error {}

/** @param {Whole} whole */
export function toMarkdown({ conversation, messages }) {
  const { title, system, leaf } = conversation;
  const path = new Tree(messages).path(leaf).filter(({ content, images, files }) => content || images.length || files?.length);
  const parts = path.map((message) => {
    const { role, images } = message;
    const pictures = images.map((data) => `![Picture](data:image;base64,${data})`);
    const said = toldQuestion(message); // with its files, as the model was told
    return section(role === "user" ? "You" : "Assistant", [...pictures, escape(said)].join("\n"));
  });
  return [`# ${title}\n`, ...(system ? [section("System", escape(system))] : []), ...parts].join("\n");
}

/**
 * @param {string} heading
 * @param {string} text
 */
function section(heading, text) {
  return `## ${heading}\n\n${text}\n`;
}

/** @param {string} text */
function escape(text) {
  return text.replaceAll(/^.*$/gm, (line) => (LIKE_HEADING.test(line) ? `\\${line}` : line));
}

/**
 * Return the conversation of a file.
 *
 * @param {string} text
 * @returns {Whole}
 * @throws {BadMarkdown}
 */
export function fromMarkdown(text) {
  const conversation = newConversation({ id: idOf(text) });
  const { title, sections } = read(text);
  /** @type {import("../message.js").Message[]} */
  const messages = [];
  for (const { role, content, images } of sections) {
    if (role === "system") {
      conversation.system = content;
    } else {
      const parent = messages.at(-1)?.id ?? null;
      const createdAt = conversation.createdAt + messages.length; // their order
      const id = `${conversation.id}-${messages.length}`;
      messages.push(
        newMessage({ id, conversation: conversation.id, parent, role, content, images, createdAt }),
      );
    }
  }
  if (messages.length === 0) {
    throw new BadMarkdown('It has no messages: each begins with a line "## You" or "## Assistant".');
  }
  conversation.title = title || titleOf(messages[0]?.content ?? "") || "Imported chat";
  conversation.leaf = messages.at(-1)?.id ?? null;
  return { conversation, messages };
}

/** @param {string} text */
function read(text) {
  let title = "";
  /** @type {{role: "user" | "assistant" | "system", lines: string[]}[]} */
  const found = [];
  for (const [place, line] of text.replaceAll("\r\n", "\n").split("\n").entries()) {
    const heading = HEADING.exec(line)?.[1];
    const last = found.at(-1);
    if (heading) {
      found.push({ role: ROLES[heading] ?? "user", lines: [] });
    } else if (last) {
      last.lines.push(ESCAPED.test(line) ? line.slice(1) : line);
    } else if (!title && line.startsWith("# ")) {
      title = line.slice(2).trim();
    } else if (line.trim()) {
      throw new BadMarkdown(
        `Line ${place + 1} belongs to no message: each begins with a line "## You" or "## Assistant".`,
      );
    }
  }
  return { title, sections: found.map(({ role, lines }) => ({ role, ...contentOf(lines) })) };
}

/** @param {string[]} lines */
function contentOf(lines) {
  // The blank line below the heading, and what ends the section.
  const inner = lines.slice(lines[0] === "" ? 1 : 0);
  if (inner.at(-1) === "") {
    inner.pop();
  }
  const images = [];
  for (let match = PICTURE.exec(inner[0] ?? ""); match; match = PICTURE.exec(inner[0] ?? "")) {
    images.push(match[1] ?? "");
    inner.shift();
  }
  return { content: inner.join("\n"), images };
}
