/**
 * Finds the fields of a message that its .proto file does not have: a decoder passes over them, and a condition that was
 * passed over is a condition that does not hold.
 */
import protobuf from 'protobufjs';
import type { Protocol } from './load.ts';

/** One step on the way to a field: its number, and its index among the fields of that number. */
export interface Step {
  readonly field: number;
  readonly index: number;
}

const lengthDelimited = 2;

/** Where unknown fields are, in the order of the bytes; the last step is the unknown field. Throws on what is no message. */
export function unknownFields(schema: Protocol, type: string, bytes: Buffer): (readonly Step[])[] {
  const known = schema.fields(type);
  const seen = new Map<number, number>();
  const found: (readonly Step[])[] = [];
  const reader = protobuf.Reader.create(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    const field = tag >>> 3;
    const wireType = tag & 7;
    const index = seen.get(field) ?? 0;
    seen.set(field, index + 1);
    const inner = known.get(field);
    if (inner === undefined) found.push([{ field, index }]);
    if (typeof inner === 'string' && wireType === lengthDelimited) {
      const deeper = unknownFields(schema, inner, reader.bytes() as Buffer);
      found.push(...deeper.map(path => [{ field, index }, ...path]));
    } else {
      reader.skipType(wireType);
    }
  }
  return found;
}
