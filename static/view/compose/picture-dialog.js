/** Shows pictures large, one at a time, and has them described. */

import { isComposing, part } from "../dom.js";

const dialog = /** @type {HTMLDialogElement} */ (part(document, "#picture"));
const field = /** @type {HTMLInputElement} */ (part(dialog, "#picture-alt"));

/**
 * @typedef {object} Looked
 * @property {{address: string, alt: string}[]} pictures
 * @property {number} place Which is shown first.
 * @property {string[]} [alts] What was written of each; without, they cannot be described.
 * @property {(place: number, alt: string) => void} [onAlt] One was described.
 */

/** What the one dialog shows now. @type {Looked | null} */
let looked = null;

/** The large view. Arrow keys step through the pictures; Escape closes it, as any dialog. */
export class PictureDialog {
  /** @param {Looked} given */
  open(given) {
    looked = { ...given, alts: [...(given.alts ?? [])] };
    show(given.place);
    dialog.showModal();
  }
}

/** @param {number} place */
function show(place) {
  const picture = looked?.pictures[place];
  if (!looked || !picture) {
    return;
  }
  looked.place = place;
  const image = new Image();
  image.src = picture.address;
  image.alt = picture.alt;
  part(dialog, ".frame").replaceChildren(image);
  const { length } = looked.pictures;
  part(dialog, ".place").textContent = length > 1 ? `${place + 1} of ${length}` : "";
  part(dialog, ".steps").hidden = length < 2;
  part(dialog, '[data-by="-1"]').ariaDisabled = String(place === 0);
  part(dialog, '[data-by="1"]').ariaDisabled = String(place === length - 1);
  part(dialog, ".field").hidden = !looked.onAlt;
  field.value = looked.alts?.[place] ?? "";
}

/** @param {number} by */
function step(by) {
  show((looked?.place ?? 0) + by);
}

for (const button of dialog.querySelectorAll("[data-by]")) {
  button.addEventListener("click", () => step(Number(/** @type {HTMLElement} */ (button).dataset.by)));
}
dialog.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by && event.target !== field && !isComposing(event)) {
    event.preventDefault();
    step(by);
  }
});
dialog.addEventListener("close", () => part(dialog, ".frame").replaceChildren());
field.addEventListener("input", () => {
  if (looked?.alts) {
    looked.alts[looked.place] = field.value;
    looked.onAlt?.(looked.place, field.value.trim());
  }
});
