/** Which links a model may make. */

const SAFE = /^(?:https?:\/\/|mailto:)/i;

/**
 * Whether an address may become a link: of the web or of e-mail, and no path on dripline's server.
 *
 * @param {string} address
 */
export function isSafeLink(address) {
  return SAFE.test(address);
}
