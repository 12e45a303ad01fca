/** Draws what a person said: pictures and files in their order, then the words. */

import { fileTraits } from "../../chat/attachments.js";
import { languageOf } from "../../chat/language.js";
import { addressOf } from "../compose/pictures.js";
import { fromTemplate, part } from "../dom.js";
import { PictureDialog } from "../compose/picture-dialog.js";

/** @typedef {import("../../chat/attachments.js").KeptFile} KeptFile */

const dialog = new PictureDialog();

/**
 * Return the element of a question.
 *
 * @param {import("../../chat/message.js").Message} message
 */
export function questionElement({ content, images, alts = [], files = [] }) {
  const element = fromTemplate("question-template");
  const prose = part(element, ".prose");
  prose.textContent = content;
  prose.hidden = !content;
  prose.lang = languageOf(content);
  const pictures = images.map((data, place) => ({
    address: addressOf(data),
    alt: alts[place] || "A picture that you sent",
  }));
  prose.before(...pictures.map((_, place) => drawnPicture(pictures, place)), ...files.map(drawnFile));
  return element;
}

/**
 * @param {{address: string, alt: string}[]} pictures
 * @param {number} place
 */
function drawnPicture(pictures, place) {
  const button = fromTemplate("sent-picture-template");
  const image = /** @type {HTMLImageElement} */ (part(button, "img"));
  image.src = pictures[place]?.address ?? "";
  image.alt = pictures[place]?.alt ?? "";
  button.addEventListener("click", () => dialog.open({ pictures, place }));
  return button;
}

/** @param {KeptFile} file */
function drawnFile(file) {
  const details = /** @type {HTMLDetailsElement} */ (fromTemplate("sent-file-template"));
  part(details, ".name").textContent = file.name;
  part(details, ".traits").textContent = fileTraits(file).join(" · ");
  // Megabytes are not laid out before somebody looks at them.
  details.addEventListener("toggle", () => {
    const text = part(details, "pre");
    text.textContent ||= details.open ? file.text : "";
  });
  return details;
}
