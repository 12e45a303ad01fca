/** Pictures for models that see: read, checked, and as Ollama takes them. */

import { sizeInWords } from "../../chat/models.js";

/**
 * @typedef {object} Picture
 * @property {string} name The file's.
 * @property {string} type Such as "image/png".
 * @property {string} data Base64, as Ollama takes it.
 */

/** A file that cannot be sent as a picture; the message is a sentence that says why. */
export class BadPicture extends Error {}

// What Ollama reads itself. Whatever else the browser can show becomes PNG.
const READ_BY_OLLAMA = ["image/png", "image/jpeg", "image/webp"];

// Beside pictures, a request holds what has been said.
const SHARE_OF_BODY = 0.9;

/**
 * Return a file as a picture. Its bytes stay as they are where Ollama reads its type.
 *
 * @param {File} file
 * @returns {Promise<Picture>}
 * @throws {BadPicture} It is not a picture that this browser can show.
 */
export async function readPicture(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch (error) {
    const reason = `${file.name} is not a picture that this browser can show.`;
    throw new BadPicture(`${reason} PNG, JPEG and WebP always work.`, { cause: error });
  }
  try {
    const blob = READ_BY_OLLAMA.includes(file.type) ? file : await asPng(bitmap);
    return { name: file.name, type: blob.type, data: await base64(blob) };
  } finally {
    bitmap.close();
  }
}

/**
 * Return why these pictures are too much for one message, as a sentence; "" where they are not.
 *
 * @param {Picture[]} pictures
 * @param {number} maxBody The largest request that the server takes, in bytes.
 */
export function tooLarge(pictures, maxBody) {
  const sum = pictures.reduce((bytes, { data }) => bytes + data.length, 0);
  const room = maxBody * SHARE_OF_BODY;
  return sum > room
    ? `These pictures are ${sizeInWords(sum)} as they are sent, and one message has room for` +
        ` ${sizeInWords(room)}. Take one out, or send a smaller copy.`
    : "";
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
    reader.onerror = () => reject(new BadPicture(`A picture could not be read: ${reader.error}`));
    reader.readAsDataURL(blob);
  });
}
