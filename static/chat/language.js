/** Which language a text is in, as far as its letters and its commonest words tell. */

/** How much of a text is looked at, in characters. */
const LOOKED_AT = 2000;
/** Fewer common words than this say nothing. */
const FEWEST_WORDS = 3;

/**
 * Scripts that one language is mostly written in. Japanese comes before Chinese: it has Han too.
 *
 * @type {readonly [language: string, letters: RegExp][]}
 */
const SCRIPTS = [
  ["ja", /[\p{Script=Hiragana}\p{Script=Katakana}]/gu],
  ["ko", /\p{Script=Hangul}/gu],
  ["zh", /\p{Script=Han}/gu],
  ["ar", /\p{Script=Arabic}/gu],
  ["he", /\p{Script=Hebrew}/gu],
  ["hi", /\p{Script=Devanagari}/gu],
  ["th", /\p{Script=Thai}/gu],
  ["el", /\p{Script=Greek}/gu],
  ["uk", /[іїєґ]/giu],
  ["ru", /\p{Script=Cyrillic}/gu],
];

/** @type {Readonly<Record<string, string>>} Words that other languages here do not have. */
const WORDS = {
  en: "the and of is that with for this you are was have it's not what from",
  de: "der das und ist nicht ein eine mit auf für den von sich auch ich sind",
  fr: "le les et est une dans pour que qui pas des vous sur avec du cette",
  es: "el los y es una para que por con del las como más pero su está",
  it: "il di è una per che con non del della sono gli anche più nel questo",
  pt: "o os e é uma para que com não do da em são mais como você",
  nl: "het een en is van niet dat op voor met zijn ook maar aan deze wordt",
};

/** @type {Map<string, string[]>} The languages that have a word. */
const LANGUAGES = new Map();
for (const [language, words] of Object.entries(WORDS)) {
  for (const word of words.split(" ")) {
    LANGUAGES.set(word, [...(LANGUAGES.get(word) ?? []), language]);
  }
}

/**
 * Return the language of a text as a tag for `lang`; "" where it cannot be told, which is what `lang`
 * takes for that.
 *
 * @param {string} text
 */
export function languageOf(text) {
  const beginning = text.slice(0, LOOKED_AT);
  const letters = count(beginning, /\p{L}/gu);
  for (const [language, script] of SCRIPTS) {
    // A Japanese text is half Han, a Ukrainian one mostly what Russian has too.
    const least = language === "ja" || language === "uk" ? 0.05 : 0.4;
    if (letters > 0 && count(beginning, script) >= least * letters) {
      return language;
    }
  }
  return languageOfWords(beginning);
}

/** @param {string} text In Latin letters. */
function languageOfWords(text) {
  /** @type {Map<string, number>} */
  const found = new Map();
  for (const [word] of text.toLowerCase().matchAll(/[\p{L}']+/gu)) {
    for (const language of LANGUAGES.get(word) ?? []) {
      found.set(language, (found.get(language) ?? 0) + 1);
    }
  }
  const [first, second] = [...found].sort(([, one], [, other]) => other - one);
  // As many of two languages: a text about words, or in both.
  return first && first[1] >= FEWEST_WORDS && first[1] > (second?.[1] ?? 0) ? first[0] : "";
}

/**
 * @param {string} text
 * @param {RegExp} pattern
 */
function count(text, pattern) {
  return text.match(pattern)?.length ?? 0;
}
