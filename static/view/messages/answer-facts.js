/** What there is to say of an answer that is over. */

/**
 * @typedef {import("../../chat/events.js").Usage} Usage
 *
 * @typedef {object} Ended
 * @property {string} model
 * @property {string | null} status
 * @property {string} reason
 * @property {Usage} usage
 * @property {boolean} [isDemo]
 */

/**
 * Return it in a few words each: what is seen at once, and what whoever looks closer reads.
 *
 * @param {Ended} answer
 * @returns {{brief: string, whole: string}}
 */
export function factsOf({ model, status, reason, usage, isDemo }) {
  const { prompt_tokens, completion_tokens, load_time, first_token_time, total_time } = usage;
  const tokens = completion_tokens ? counted(completion_tokens, "token") : "";
  const rate = tokensPerSecond(usage);
  const news = [
    isDemo && "Demo answer, not from a model",
    status === "cancelled" && "Stopped",
    reason === "length" && "Stopped at the length limit",
  ];
  const whole = [
    ...news,
    model,
    tokens,
    rate && `${rate} tokens/s`,
    first_token_time && `first after ${seconds(first_token_time)}`,
    load_time && load_time >= 1 && `loaded in ${seconds(load_time)}`,
    total_time && `${seconds(total_time)} in all`,
    prompt_tokens && `prompt ${counted(prompt_tokens, "token")}`,
  ];
  const brief = [...news, [tokens, rate && `${rate}/s`].filter(Boolean).join(", ")];
  return { brief: brief.filter(Boolean).join(" · ") || model, whole: whole.filter(Boolean).join(" · ") };
}

/**
 * Return seconds as a person reads them: "0.25 s", "3.1 s", "12 s", "2 min 5 s".
 *
 * @param {number} time
 */
export function seconds(time) {
  if (time < 9.95) {
    return `${time.toFixed(time < 0.995 ? 2 : 1)} s`;
  }
  const whole = Math.round(time);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** @param {Usage} usage */
function tokensPerSecond({ completion_tokens, first_token_time, total_time }) {
  // The first token's time is the prompt's.
  const time = (total_time ?? 0) - (first_token_time ?? 0);
  if (!completion_tokens || completion_tokens < 2 || time <= 0) {
    return "";
  }
  const rate = (completion_tokens - 1) / time;
  return rate < 10 ? rate.toFixed(1) : String(Math.round(rate));
}

/**
 * @param {number} count
 * @param {string} what
 */
function counted(count, what) {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
