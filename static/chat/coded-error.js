/** Something went wrong that a person is told about; the message tells them what to do. */
export class CodedError extends Error {
  /** Which thing, in one word: the server's code, or one of the page's own; see view/ways-out.js. */
  code;

  /**
   * @param {string} code
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.code = code;
  }
}
