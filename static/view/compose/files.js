/** Files that are sent as text: read whole, and refused where they are something else. */

import { BadFile, decodeText } from "../../chat/attachments.js";
import { sizeInWords } from "../../chat/models.js";
import { readPdf } from "./pdf.js";
import { readPicture } from "./pictures.js";

/** @typedef {import("../../chat/attachments.js").Attachment} Attachment */

/** Larger files are not read, in bytes: a PDF's text is a small part of it. */
const LARGEST_PDF = 200_000_000;

// Beside what is attached, a request holds what has been said.
const SHARE_OF_BODY = 0.9;

/**
 * Return a file as what goes with a message: a picture, or text.
 *
 * @param {File} file
 * @param {number} maxBody The largest request that the server takes, in bytes.
 * @param {(sentence: string) => void} onProgress Told where reading takes a while.
 * @returns {Promise<Attachment>}
 * @throws {BadFile} It is neither.
 */
export async function readFile(file, maxBody, onProgress) {
  const name = plainName(file.name);
  const isSource = file.type === "image/svg+xml"; // a drawing as text; Ollama does not read it as a picture
  if (file.type.startsWith("image/") && !isSource) {
    return readPicture(file);
  }
  const isPdf = file.type === "application/pdf" || /\.pdf$/i.test(name);
  const most = isPdf ? LARGEST_PDF : maxBody;
  if (file.size > most) {
    throw new BadFile(`${name} is too large: it is ${sizeInWords(file.size)}, and ${sizeInWords(most)} is the most.`);
  }
  let bytes;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch (error) {
    // A folder that was dropped, or a file that is gone.
    throw new BadFile(`${name} cannot be read. Only files can be added, not folders.`, { cause: error });
  }
  if (isPdf) {
    return { kind: "file", name, ...(await readPdf(name, bytes, onProgress)) };
  }
  return { kind: "file", name, text: decodeText(name, bytes) };
}

/**
 * Return why attachments are too much for one message, as a sentence; "" where they are not.
 *
 * @param {Attachment[]} attachments
 * @param {number} maxBody The largest request that the server takes, in bytes.
 */
export function tooLarge(attachments, maxBody) {
  const sum = attachments.reduce((bytes, each) => bytes + sizeOf(each), 0);
  const room = maxBody * SHARE_OF_BODY;
  return sum > room
    ? `What is attached is ${sizeInWords(sum)} as it is sent, and one message has room for` +
        ` ${sizeInWords(room)}. Take something out, or send a smaller copy.`
    : "";
}

/** @param {Attachment} attachment */
function sizeOf(attachment) {
  return attachment.kind === "picture" ? attachment.data.length : new Blob([attachment.text]).size;
}

/** @param {string} name A file's; on some systems it may hold line ends. */
function plainName(name) {
  return name.replaceAll(/\p{Cc}+/gu, " ").trim() || "file";
}
