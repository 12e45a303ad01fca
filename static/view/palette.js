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

// WCAG 2.2, 1.4.3.
const READABLE = 4.5;

/**
 * The page's own colours, as page.css has them, and how light a tint may be.
 *
 * @type {Readonly<Record<"light" | "dark", {page: Rgb, surface: Rgb, accent: Rgb, fits: (light: number) => boolean}>>}
 */
const SCHEMES = {
  light: { page: [252, 252, 250], surface: [239, 243, 241], accent: [11, 111, 102], fits: (light) => light > 0.76 },
  dark: { page: [20, 24, 27], surface: [31, 39, 43], accent: [95, 212, 196], fits: (light) => light < 0.03 },
};
/** The most of a colour that a page takes. */
const STRONGEST = 0.45;
/** Parts of a colour that differ less are those of a grey. */
const GREY = 24;

/**
 * Return the palette of a page with a tint of the given colour: every colour of text has a contrast of
 * at least 4.5 on it and on its surfaces. Light stays light, and dark stays dark, unless the colour is
 * black or white, which say which of them is meant.
 *
 * @param {string} color "#RRGGBB".
 * @param {"light" | "dark"} [wanted] The scheme so far.
 * @param {string | null} [accent] "#RRGGBB", for what can be pressed; null derives it from the colour.
 * @returns {Palette & {scheme: "light" | "dark"}}
 */
export function paletteOf(color, wanted = "light", accent = null) {
  const hue = parse(color);
  const isGrey = Math.max(...hue) - Math.min(...hue) < GREY;
  const scheme = !isGrey ? wanted : luminance(hue) < 0.05 ? "dark" : luminance(hue) > 0.7 ? "light" : wanted;
  const text = scheme === "light" ? BLACK : WHITE;
  const own = SCHEMES[scheme];
  const page = tintOf(hue, own);
  const surface = surfaceOf(page, text);
  /** @param {number} ratio @param {Rgb} [of] @param {number} [least] */
  const tone = (ratio, of = hue, least = 0.4) => toneOf(of, text, [page, surface], ratio, least);
  const hues = Object.entries(HUES).map(([name, of]) => [name, css(tone(READABLE + 0.2, of, 0))]);
  const derived = isGrey ? own.accent : scheme === "light" ? vivid(hue) : hue;
  const pressed = accent ? parse(accent) : derived;
  return {
    page: css(page),
    surface: css(surface),
    line: css(mix(page, text, 0.2)),
    text: css(text === BLACK ? tone(14) : tone(12)),
    muted: css(tone(5.5, page)),
    accent: css(tone(READABLE + 0.2, pressed, 0)),
    ...Object.fromEntries(hues),
    scheme,
  };
}

/**
 * Return a colour with less white in it: what is darkened to be read on a light page is no grey then.
 *
 * @param {Rgb} rgb
 * @returns {Rgb}
 */
function vivid([red, green, blue]) {
  const white = 0.75 * Math.min(red, green, blue);
  const most = Math.max(red, green, blue);
  /** @param {number} value */
  const without = (value) => Math.round(((value - white) * most) / (most - white));
  return [without(red), without(green), without(blue)];
}

/**
 * Return an accent for the page's own colours: what is nearest to a colour and can be read on them.
 *
 * @param {string} color "#RRGGBB".
 * @param {"light" | "dark"} scheme
 */
export function accentOf(color, scheme) {
  const { page, surface } = SCHEMES[scheme];
  const text = scheme === "light" ? BLACK : WHITE;
  return css(toneOf(parse(color), text, [page, surface], READABLE + 0.2, 0));
}

/**
 * Return a page with as much of a colour as leaves it light, or dark.
 *
 * @param {Rgb} hue
 * @param {{page: Rgb, fits: (light: number) => boolean}} scheme
 */
function tintOf(hue, { page, fits }) {
  for (let share = STRONGEST; share > 0; share -= 0.01) {
    const tint = mix(page, hue, share);
    if (fits(luminance(tint))) {
      return tint;
    }
  }
  return page;
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
