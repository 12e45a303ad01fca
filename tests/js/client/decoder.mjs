// The package's decoder, for the conformance tests.
export { EventDecoder, EventTooLarge } from "dripline-client";
