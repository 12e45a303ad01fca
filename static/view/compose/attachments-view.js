/** Takes pictures by paste, drop or picker, and shows which will be sent. */

import { fromTemplate, part, showSentence } from "../dom.js";
import { addressOf, BadPicture, readPicture, tooLarge } from "./images.js";

/** @typedef {import("./images.js").Picture} Picture */

const list = part(document, "#pictures");
const note = part(document, "#pictures-note");
const picker = /** @type {HTMLInputElement} */ (part(document, "#picture-files"));

/** The pictures of the message that is being written. */
export class Attachments {
  /** @type {Picture[]} */
  #pictures = [];
  /** Why files were not taken, as sentences: told until the pictures or the message are others. */
  #refused = "";
  /** What is wrong, as it stands below. */
  #said = "";
  #maxBody = Infinity;
  #blind = "";
  #onChange;

  /** @param {(said: string) => void} onChange They are others now; `said` tells it in words. */
  constructor(onChange) {
    this.#onChange = onChange;
    part(document, "#add-picture").addEventListener("click", () => picker.click());
    picker.addEventListener("change", () => {
      void this.add([...(picker.files ?? [])]);
      picker.value = ""; // the same file can be taken again
    });
    part(document, "#message").addEventListener("paste", (event) => {
      const { files = [], types = [] } = event.clipboardData ?? {};
      // Office programs put a picture of a text beside the text; the text is meant.
      const isText = types.includes("text/plain") && types.includes("text/html");
      if (files.length > 0 && !isText) {
        event.preventDefault();
        void this.add([...files]);
      }
    });
    this.#listenToDrops();
  }

  /** Why they cannot be sent as they are, as a sentence; "" where they can. */
  get trouble() {
    if (this.#pictures.length === 0) {
      return "";
    }
    return this.#blind || tooLarge(this.#pictures, this.#maxBody);
  }

  /** The pictures, as they are kept with a draft. */
  get pictures() {
    return this.#pictures;
  }

  set pictures(pictures) {
    this.#pictures = pictures;
    this.#refused = "";
    this.#draw();
  }

  /** How many there are. */
  get count() {
    return this.#pictures.length;
  }

  /** Take all pictures out, and return them as a message has them: base64. */
  take() {
    const taken = this.#pictures.map(({ data }) => data);
    this.#pictures = [];
    this.#refused = "";
    this.#draw();
    return taken;
  }

  /**
   * Say what can be sent.
   *
   * @param {string} blind Why the chosen model takes no pictures, as a sentence; "" where it does.
   * @param {number} [maxBody] The largest request that the server takes, in bytes.
   */
  allow(blind, maxBody = this.#maxBody) {
    this.#blind = blind;
    this.#maxBody = maxBody;
    this.#sayTrouble();
  }

  /**
   * Add files; what is no picture is told.
   *
   * @param {File[]} files
   */
  async add(files) {
    const read = await Promise.allSettled(files.map((file) => readPicture(file)));
    const added = read.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    const refused = read.flatMap((each) => (each.status === "rejected" ? [sentenceOf(each.reason)] : []));
    this.#pictures = [...this.#pictures, ...added];
    this.#refused = refused.join(" ");
    this.#draw();
    const names = added.map(({ name }) => name).join(", ");
    this.#onChange(names && `Added ${names}.`);
  }

  /** @param {Picture} picture */
  #remove(picture) {
    this.#pictures = this.#pictures.filter((other) => other !== picture);
    this.#refused = "";
    this.#draw();
    part(document, "#message").focus();
    this.#onChange(`Removed ${picture.name}.`);
  }

  #draw() {
    list.replaceChildren(
      ...this.#pictures.map((picture) => {
        const item = fromTemplate("picture-template");
        const image = /** @type {HTMLImageElement} */ (part(item, "img"));
        image.src = addressOf(picture.data);
        image.alt = picture.name;
        const remove = part(item, "button");
        remove.ariaLabel = `Remove ${picture.name}`;
        remove.addEventListener("click", () => this.#remove(picture));
        return item;
      }),
    );
    list.hidden = this.#pictures.length === 0;
    this.#sayTrouble();
  }

  #sayTrouble() {
    const sentence = [this.#refused, this.trouble].filter(Boolean).join(" ");
    if (sentence !== this.#said) {
      this.#said = sentence; // said anew, screen readers would tell it once more
      showSentence(note, sentence);
      note.hidden = !sentence;
    }
  }

  /** Files dropped anywhere are meant for the message; the browser would open them instead. */
  #listenToDrops() {
    /** @param {DragEvent} event */
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;
    document.addEventListener("dragover", (event) => {
      if (hasFiles(event)) {
        event.preventDefault();
        document.body.classList.add("dropping");
      }
    });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) {
        document.body.classList.remove("dropping");
      }
    });
    document.addEventListener("drop", (event) => {
      document.body.classList.remove("dropping");
      if (hasFiles(event)) {
        event.preventDefault();
        void this.add([...(event.dataTransfer?.files ?? [])]);
      }
    });
  }
}

/** @param {unknown} error */
function sentenceOf(error) {
  if (error instanceof BadPicture) {
    return error.message;
  }
  throw error;
}
