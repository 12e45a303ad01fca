/** Conversations from files and into files. */

import { BadJson } from "../chat/json-check.js";
import { allToJson, fromJson, toJson } from "../chat/export/json-file.js";
import { BadMarkdown, fromMarkdown, toMarkdown } from "../chat/export/markdown-file.js";
import { tell } from "./notices-view.js";
import { fileName, saveFile } from "./save-file.js";

/** @typedef {import("../chat/app.js").App} App */

/**
 * Return what the list's "Import" and "Export" do.
 *
 * @param {App} app
 * @param {(id: string) => void} open Shows a conversation.
 */
export function importAndExport(app, open) {
  return {
    /** @param {File[]} files */
    onImport: (files) => void importFiles(app, files, open),
    /** @param {"markdown" | "json" | "all"} what */
    onExport: (what) => void (what === "all" ? exportAll(app) : exportOpen(app, what)),
  };
}

/**
 * @param {App} app
 * @param {File[]} files
 * @param {(id: string) => void} open
 */
async function importFiles(app, files, open) {
  const said = [];
  /** @type {import("../chat/conversation.js").Whole[]} */
  const wholes = [];
  for (const [place, file] of files.entries()) {
    tell(`Reading ${file.name}, ${place + 1} of ${files.length}.`);
    try {
      const text = await file.text();
      wholes.push(...[/\.(md|markdown)$/i.test(file.name) ? fromMarkdown(text) : fromJson(text)].flat());
    } catch (error) {
      if (!(error instanceof BadJson || error instanceof BadMarkdown)) {
        reportError(error);
      }
      said.push(`${file.name} was not imported. ${error instanceof Error ? error.message : error}`);
    }
  }
  if (wholes.length > 0) {
    tell(`Importing ${counted(wholes.length)}.`);
    const { added, grown, known } = await app.addAll(wholes);
    said.unshift(
      [
        added.length > 0 && `${counted(added.length)} imported.`,
        grown.length > 0 && `${counted(grown.length)} brought up to date.`,
        known > 0 && `${counted(known)} already here.`,
      ]
        .filter(Boolean)
        .join(" "),
    );
    const first = added[0] ?? grown[0];
    open(first?.conversation.id ?? wholes[0]?.conversation.id ?? "");
  }
  tell(said.join(" "));
}

/** @param {number} chats */
function counted(chats) {
  return chats === 1 ? "1 chat" : `${chats} chats`;
}

/**
 * @param {App} app
 * @param {"markdown" | "json"} what
 */
async function exportOpen(app, what) {
  const whole = await app.chats.whole(app.conversation.id);
  if (!whole) {
    tell("There is nothing to export yet: this chat is empty.");
  } else if (what === "markdown") {
    saveFile(fileName(whole.conversation.title, "md"), "text/markdown", toMarkdown(whole));
  } else {
    saveFile(fileName(whole.conversation.title, "json"), "application/json", toJson(whole));
  }
}

/** @param {App} app */
async function exportAll(app) {
  const wholes = await Promise.all(app.chats.list.map(({ id }) => app.chats.whole(id)));
  const day = new Date().toISOString().slice(0, 10);
  const there = wholes.filter((whole) => whole !== null);
  saveFile(`dripline-chats-${day}.json`, "application/json", allToJson(there));
}
