/**
 * HTTP/2 error codes (RFC 9113 §7) and the fault that ends a connection.
 *
 * The frame and header layers throw a Fault; only connection.ts catches it, sends GOAWAY with its wire code and hands
 * a CulvertError to the owner. Stream errors never throw: they become RST_STREAM on the spot.
 */
import { CulvertError } from '../../base/errors.ts';

export const ErrorCode = {
  NO_ERROR: 0x0,
  PROTOCOL_ERROR: 0x1,
  INTERNAL_ERROR: 0x2,
  FLOW_CONTROL_ERROR: 0x3,
  SETTINGS_TIMEOUT: 0x4,
  STREAM_CLOSED: 0x5,
  FRAME_SIZE_ERROR: 0x6,
  REFUSED_STREAM: 0x7,
  CANCEL: 0x8,
  COMPRESSION_ERROR: 0x9,
  CONNECT_ERROR: 0xa,
  ENHANCE_YOUR_CALM: 0xb,
  INADEQUATE_SECURITY: 0xc,
  HTTP_1_1_REQUIRED: 0xd,
} as const;

const names = new Map<number, string>(Object.entries(ErrorCode).map(([name, code]) => [code, name]));

/** The RFC's name of a wire code, or its number in hex where the RFC has none. */
export function errorCodeName(code: number): string {
  return names.get(code) ?? `0x${code.toString(16)}`;
}

/** What the peer did that ends the connection: our code for the operator, the wire code for the peer. */
export class Fault extends Error {
  readonly code: string;
  readonly wireCode: number;

  constructor(code: string, wireCode: number, message: string) {
    super(message);
    this.code = code;
    this.wireCode = wireCode;
  }
}

export function protocolFault(message: string): Fault {
  return new Fault('H2_PROTOCOL_ERROR', ErrorCode.PROTOCOL_ERROR, message);
}

export function frameSizeFault(message: string): Fault {
  return new Fault('H2_FRAME_SIZE', ErrorCode.FRAME_SIZE_ERROR, message);
}

export function flowControlFault(message: string): Fault {
  return new Fault('H2_FLOW_CONTROL', ErrorCode.FLOW_CONTROL_ERROR, message);
}

export function compressionFault(message: string): Fault {
  return new Fault('H2_COMPRESSION', ErrorCode.COMPRESSION_ERROR, message);
}

/** The peer exceeded one of our abuse limits; `code` names which. */
export function calmFault(code: string, message: string): Fault {
  return new Fault(code, ErrorCode.ENHANCE_YOUR_CALM, message);
}

/** What a callback of an owner threw, as the end of its connection. */
export function handlerFailed(thrown: unknown): CulvertError {
  const message = `a stream or connection handler threw: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
  return new CulvertError('H2_HANDLER_FAILED', message, { cause: thrown });
}
