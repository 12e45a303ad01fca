/** From one colour to all that a page needs, readable on it. */

/**
 * @typedef {[number, number, number]} Rgb Red, green and blue, each from 0 to 255.
 * @typedef {object} Palette Colours as CSS takes them.
 * @property {string} page What everything stands on.
 * @property {string} surface Bubbles and boxes.
 * @property {string} line Borders.
 * @property {string} text
 * @property {string} muted Text that matters less.
 * @property {string} accent What can be pressed.
 * @property {string} danger What is wrong.
 * @property {string} syntax-keyword Code, as the next three.
 * @property {string} syntax-string
 * @property {string} syntax-number
 * @property {string} syntax-title Names that are being given a meaning.
 */

/** @type {Rgb} */
const BLACK = [0, 0, 0];
/** @type {Rgb} */
const WHITE = [255, 255, 255];

// What tells some texts apart; each is mixed with the text's colour until it can be read.
/** @type {Readonly<Record<string, Rgb>>} */
const HUES = {
  danger: [200, 40, 40],
  "syntax-keyword": [150, 70, 200],
  "syntax-string": [40, 140, 70],
  "syntax-number": [190, 110, 20],
  "syntax-title": [40, 110, 200],
};

// WCAG 2.2, 1.4.3. Black or white reaches it on any colour: the worst has 4.58 with both.
const READABLE = 4.5;

/**
 * Return the palette of a page in the given colour: every colour of text has a contrast of at least
 * 4.5 on it and on its surfaces.
 *
 * @param {string} color "#RRGGBB".
 * @returns {Palette & {scheme: "light" | "dark"}} `scheme` is for the browser's own controls.
 */
export function paletteOf(color) {
  const page = parse(color);
  const text = contrast(page, BLACK) >= contrast(page, WHITE) ? BLACK : WHITE;
  const surface = surfaceOf(page, text);
  /** @param {number} wanted @param {Rgb} [hue] @param {number} [least] */
  const tone = (wanted, hue = page, least = 0.4) => toneOf(hue, text, [page, surface], wanted, least);
  const hues = Object.entries(HUES).map(([name, hue]) => [name, css(tone(READABLE + 0.2, hue, 0))]);
  return {
    page: css(page),
    surface: css(surface),
    line: css(mix(page, text, 0.25)),
    text: css(text === BLACK ? tone(15) : tone(13)),
    muted: css(tone(5.5)),
    accent: css(tone(6.5)),
    ...Object.fromEntries(hues),
    scheme: text === BLACK ? "light" : "dark",
  };
}

/**
 * Return the colour of boxes: lighter than the page where that leaves the text readable and shows,
 * else darker.
 *
 * @param {Rgb} page
 * @param {Rgb} text
 */
function surfaceOf(page, text) {
  if (text === BLACK) {
    const paler = mix(page, WHITE, 0.45);
    return contrast(paler, page) > 1.08 ? paler : mix(page, BLACK, 0.06);
  }
  return contrast(page, WHITE) > 2 * READABLE ? mix(page, WHITE, 0.09) : mix(page, BLACK, 0.2);
}

/**
 * Return what is nearest to a hue, yet has the wanted contrast on the backgrounds; `text` where nothing
 * has.
 *
 * @param {Rgb} hue
 * @param {Rgb} text
 * @param {[page: Rgb, surface: Rgb]} backgrounds
 * @param {number} wanted
 * @param {number} least The least share of the text's colour.
 */
function toneOf(hue, text, backgrounds, wanted, least) {
  for (let share = least; share < 1; share += 0.05) {
    const tone = mix(hue, text, share);
    if (backgrounds.every((background) => contrast(background, tone) >= wanted)) {
      return tone;
    }
  }
  return text;
}

/**
 * Return the contrast of two colours, from 1 to 21 (WCAG 2.2, "contrast ratio").
 *
 * @param {Rgb} one
 * @param {Rgb} other
 */
export function contrast(one, other) {
  const light = [luminance(one), luminance(other)];
  return (Math.max(...light) + 0.05) / (Math.min(...light) + 0.05);
}

/** @param {Rgb} rgb */
function luminance([red, green, blue]) {
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}

/** @param {number} value */
function linear(value) {
  const part = value / 255;
  return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
}

/**
 * @param {Rgb} one
 * @param {Rgb} other
 * @param {number} share How much of the other.
 * @returns {Rgb}
 */
function mix(one, other, share) {
  /** @param {0 | 1 | 2} part */
  const at = (part) => Math.round(one[part] + (other[part] - one[part]) * share);
  return [at(0), at(1), at(2)];
}

/**
 * @param {string} color
 * @returns {Rgb}
 */
function parse(color) {
  const value = Number.parseInt(color.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** @param {Rgb} rgb */
function css(rgb) {
  return `rgb(${rgb.join(" ")})`;
}
