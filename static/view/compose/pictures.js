/** Pictures for models that see: read, checked, and as Ollama takes them. */

import { BadFile } from "../../chat/attachments.js";

/** @typedef {import("../../chat/attachments.js").Picture} Picture */

// What Ollama reads itself. Whatever else the browser can show becomes PNG.
const READ_BY_OLLAMA = ["image/png", "image/jpeg", "image/webp"];

/**
 * Return a file as a picture. Its bytes stay as they are where Ollama reads its type.
 *
 * @param {File} file
 * @returns {Promise<Picture>}
 * @throws {BadFile} It is not a picture that this browser can show.
 */
export async function readPicture(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch (error) {
    const reason = `${file.name} is not a picture that this browser can show.`;
    throw new BadFile(`${reason} PNG, JPEG and WebP always work.`, { cause: error });
  }
  try {
    const blob = READ_BY_OLLAMA.includes(file.type) ? file : await asPng(bitmap);
    return { kind: "picture", name: file.name, type: blob.type, data: await base64(blob), alt: "" };
  } finally {
    bitmap.close();
  }
}

/**
 * Return the address of a picture for an `img`: base64 as the conversation keeps it.
 *
 * @param {string} data
 */
export function addressOf(data) {
  return `data:${typeOf(data)};base64,${data}`;
}

/** @param {string} data */
function typeOf(data) {
  // The first bytes tell, and an `img` shows nothing that is not a picture, whatever is said here.
  const starts = { iVBOR: "image/png", "/9j/": "image/jpeg", UklGR: "image/webp" };
  const found = Object.entries(starts).find(([start]) => data.startsWith(start));
  return found?.[1] ?? "image/png";
}

/** @param {ImageBitmap} bitmap */
async function asPng(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

/**
 * @param {Blob} blob
 * @returns {Promise<string>}
 */
function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).replace(/^data:[^,]*,/, ""));
    reader.onerror = () => reject(new BadFile(`A picture could not be read: ${reader.error}`));
    reader.readAsDataURL(blob);
  });
}
