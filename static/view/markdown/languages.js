/** The languages whose words are coloured, by the names that stand on blocks of code. */

/** Each grammar with further names for it: no other file is asked for. */
const GRAMMARS = {
  bash: "sh zsh",
  c: "h",
  clojure: "clj",
  cpp: "c++ cc cxx hpp",
  csharp: "cs c#",
  css: "",
  dart: "",
  diff: "patch",
  dockerfile: "docker",
  elixir: "ex exs",
  go: "golang",
  graphql: "gql",
  haskell: "hs",
  http: "",
  ini: "toml conf",
  java: "",
  javascript: "js jsx mjs cjs",
  json: "jsonc json5 jsonl",
  julia: "jl",
  kotlin: "kt kts",
  latex: "tex",
  less: "",
  lua: "",
  makefile: "make mk",
  markdown: "md",
  matlab: "octave",
  nginx: "",
  objectivec: "objc objective-c",
  perl: "pl",
  php: "",
  powershell: "ps1 pwsh",
  protobuf: "proto",
  python: "py python3 pyi",
  r: "",
  ruby: "rb",
  rust: "rs",
  scala: "",
  scss: "sass",
  shell: "console shellsession",
  sql: "postgresql mysql sqlite",
  swift: "",
  typescript: "ts tsx mts cts",
  xml: "html xhtml svg vue svelte",
  yaml: "yml",
};

/** Grammars that others are made of. @type {Readonly<Record<string, string[]>>} */
const PARTS = { xml: ["css", "javascript"], markdown: ["xml", "css", "javascript"], shell: ["bash"] };

/** @type {Map<string, string>} */
const NAMES = new Map();
for (const [grammar, others] of Object.entries(GRAMMARS)) {
  for (const name of [grammar, ...others.split(" ")]) {
    NAMES.set(name, grammar);
  }
}

/**
 * Return the grammars that a language needs, its own first; none where it is not known.
 *
 * @param {string} language As it stands on a block of code.
 * @returns {string[]}
 */
export function grammarsOf(language) {
  const grammar = language ? NAMES.get(language.toLowerCase()) : undefined;
  return grammar ? [grammar, ...(PARTS[grammar] ?? [])] : [];
}
