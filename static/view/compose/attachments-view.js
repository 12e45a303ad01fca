/** Takes pictures and files by paste, drop or picker, and shows which will be sent. */

import { BadFile, fileTraits, LONG_PASTE, pastedFile } from "../../chat/attachments.js";
import { fromTemplate, part, showSentence } from "../dom.js";
import { PictureDialog } from "./picture-dialog.js";
import { readFile, tooLarge } from "./files.js";
import { addressOf } from "./pictures.js";

/**
 * @typedef {import("../../chat/attachments.js").Attachment} Attachment
 * @typedef {import("../../chat/attachments.js").Picture} Picture
 * @typedef {import("../../chat/attachments.js").TextFile} TextFile
 */

const pictureList = part(document, "#pictures");
const fileList = part(document, "#files");
const note = part(document, "#pictures-note");
const picker = /** @type {HTMLInputElement} */ (part(document, "#picture-files"));

/** What goes with the message that is being written. */
export class Attachments {
  /** @type {Attachment[]} */
  #all = [];
  /** Why files were not taken, as sentences: told until the attachments or the message are others. */
  #refused = "";
  /** What is wrong, as it stands below. */
  #said = "";
  #maxBody = Infinity;
  #blind = "";
  #onChange;
  #onWriteOut;
  #dialog = new PictureDialog();

  /**
   * @param {object} handlers
   * @param {(said: string) => void} handlers.onChange They are others now; `said` tells it in words.
   * @param {(text: string) => void} handlers.onWriteOut A file's text is to be in the message instead.
   */
  constructor({ onChange, onWriteOut }) {
    this.#onChange = onChange;
    this.#onWriteOut = onWriteOut;
    part(document, "#add-picture").addEventListener("click", () => picker.click());
    picker.addEventListener("change", () => {
      void this.add([...(picker.files ?? [])]);
      picker.value = ""; // the same file can be taken again
    });
    part(document, "#message").addEventListener("paste", (event) => this.#paste(event));
    this.#listenToDrops();
  }

  /** Why they cannot be sent as they are, as a sentence; "" where they can. */
  get trouble() {
    const hasPictures = this.#all.some(({ kind }) => kind === "picture");
    return (hasPictures && this.#blind) || tooLarge(this.#all, this.#maxBody);
  }

  /** In their order, as they are kept with a draft. */
  get all() {
    return this.#all;
  }

  set all(attachments) {
    this.#all = attachments;
    this.#refused = "";
    this.#draw();
  }

  /** How many there are. */
  get count() {
    return this.#all.length;
  }

  /** Take all out, and return them. */
  take() {
    const taken = this.#all;
    this.all = [];
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
   * Add files; what is neither a picture nor text is told.
   *
   * @param {File[]} files
   */
  async add(files) {
    /** @param {string} sentence */
    const onProgress = (sentence) => showSentence(part(document, "#reading"), sentence);
    // All at once: each is shown in the order in which they were given.
    const read = await Promise.allSettled(files.map((file) => readFile(file, this.#maxBody, onProgress)));
    onProgress("");
    const added = read.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    const refused = read.flatMap((each) => (each.status === "rejected" ? [sentenceOf(each.reason)] : []));
    this.#all = [...this.#all, ...added];
    this.#refused = refused.join(" ");
    this.#draw();
    const names = added.map(({ name }) => name).join(", ");
    this.#onChange(names && `Added ${names}.`);
  }

  /** @param {ClipboardEvent} event */
  #paste(event) {
    const { files = [], types = [] } = event.clipboardData ?? {};
    // Office programs put a picture of a text beside the text; the text is meant.
    const isText = types.includes("text/plain") && types.includes("text/html");
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (files.length > 0 && !isText) {
      event.preventDefault();
      void this.add([...files]);
    } else if (text.length >= LONG_PASTE) {
      event.preventDefault();
      const file = pastedFile(text, this.#all);
      this.#all = [...this.#all, file];
      this.#draw();
      this.#onChange(`The long text was added as ${file.name}.`);
    }
  }

  /** @param {Attachment} attachment */
  #remove(attachment) {
    this.#all = this.#all.filter((other) => other !== attachment);
    this.#refused = "";
    this.#draw();
    part(document, "#message").focus();
    this.#onChange(`Removed ${attachment.name}.`);
  }

  /** @param {TextFile} file */
  #writeOut(file) {
    this.#onWriteOut(file.text);
    this.#remove(file);
  }

  /** @param {Picture} picture */
  #look(picture) {
    const pictures = this.#pictures;
    this.#dialog.open({
      pictures: pictures.map(({ name, data, alt }) => ({ address: addressOf(data), alt: alt || name })),
      place: pictures.indexOf(picture),
      alts: pictures.map(({ alt }) => alt),
      onAlt: (place, alt) => this.#describe(place, alt),
    });
  }

  /**
   * @param {number} place
   * @param {string} alt
   */
  #describe(place, alt) {
    const picture = this.#pictures[place];
    const item = pictureList.children[place];
    if (picture && item) {
      picture.alt = alt;
      /** @type {HTMLImageElement} */ (part(item, "img")).alt = alt || picture.name;
      this.#all = [...this.#all]; // another list: it is kept at once
      this.#onChange("");
    }
  }

  get #pictures() {
    return this.#all.filter((each) => each.kind === "picture");
  }

  #draw() {
    pictureList.replaceChildren(...this.#pictures.map((picture) => this.#drawnPicture(picture)));
    pictureList.hidden = pictureList.children.length === 0;
    const files = this.#all.filter((each) => each.kind === "file");
    fileList.replaceChildren(...files.map((file) => this.#drawnFile(file)));
    fileList.hidden = files.length === 0;
    this.#sayTrouble();
  }

  /** @param {Picture} picture */
  #drawnPicture(picture) {
    const item = fromTemplate("picture-template");
    const image = /** @type {HTMLImageElement} */ (part(item, "img"));
    image.src = addressOf(picture.data);
    image.alt = picture.alt || picture.name;
    part(item, ".look").title = "Look at it and describe it";
    part(item, ".look").addEventListener("click", () => this.#look(picture));
    this.#drawRemove(item, picture);
    return item;
  }

  /** @param {TextFile} file */
  #drawnFile(file) {
    const item = fromTemplate("file-template");
    part(item, ".name").textContent = file.name;
    part(item, ".traits").textContent = fileTraits(file).join(" · ");
    const writeOut = part(item, ".write-out");
    writeOut.hidden = file.isPasted !== true;
    writeOut.addEventListener("click", () => this.#writeOut(file));
    this.#drawRemove(item, file);
    return item;
  }

  /**
   * @param {HTMLElement} item
   * @param {Attachment} attachment
   */
  #drawRemove(item, attachment) {
    const remove = part(item, ".remove");
    remove.ariaLabel = `Remove ${attachment.name}`;
    remove.addEventListener("click", () => this.#remove(attachment));
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
  if (error instanceof BadFile) {
    return error.message;
  }
  throw error;
}
