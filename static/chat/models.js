/**
 * What Ollama's models are and can do.
 *
 * @typedef {object} Model As `GET /models` lists it.
 * @property {string} name Such as "mistral:latest".
 * @property {number} size Bytes on disk.
 * @property {string} [family] Its architecture, such as "llama"; "agent" for what is no model.
 * @property {string} [description] What it is for.
 * @property {string[]} capabilities Such as "completion", "tools", "thinking", "vision".
 * @property {boolean | null} loaded Whether it is in memory now; null where Ollama does not say.
 * @property {number} contextLength How many tokens it sees as it is in memory; 0 where that is not known.
 */

/** @param {Model} model */
export function canChat({ capabilities }) {
  // An older Ollama tells none.
  return capabilities.length === 0 || capabilities.includes("completion");
}

/** @param {Model} model */
export function canSee({ capabilities }) {
  return capabilities.includes("vision");
}

/** @param {Model} model */
export function isThinking({ capabilities }) {
  return capabilities.includes("thinking");
}

/**
 * Whether its thinking has levels; Ollama then ignores on and off.
 *
 * @param {Model} model
 */
export function isLeveled({ family }) {
  return family === "gptoss" || family === "gpt-oss";
}

/**
 * Return which model to begin with: the one chosen before, else the server's default, else the first.
 * Ollama lists `demo` as `demo:latest`.
 *
 * @param {Model[]} models
 * @param {string[]} preferred Names, the best first; "" is none.
 */
export function firstChoice(models, preferred) {
  const [best] = preferred.flatMap((name) =>
    models.filter((model) => model.name === name || model.name === `${name}:latest`),
  );
  return best ?? models[0];
}

/**
 * Return what there is to say of a model, in a few words each: its size, what it can do besides
 * chatting, and that it is in memory; of an agent what it is for.
 *
 * @param {Model} model
 */
export function traits(model) {
  return [
    model.family === "agent" && "agent",
    (model.description ?? "") !== "" && String(model.description),
    model.size > 0 && sizeInWords(model.size),
    canSee(model) && "sees images",
    isThinking(model) && "thinks",
    model.capabilities.includes("tools") && "uses tools",
    model.loaded === true && "loaded",
  ].filter((trait) => trait !== false);
}

const UNITS = ["KB", "MB", "GB", "TB"];

/**
 * Return a number of bytes in words, in powers of 1,000 as Ollama tells sizes.
 *
 * @param {number} bytes
 */
export function sizeInWords(bytes) {
  if (bytes < 1000) {
    return bytes === 1 ? "1 byte" : `${bytes} bytes`;
  }
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}
