/** Responses as a client reads them, by hand: what the server encodes is checked against another reading. */
import protobuf from 'protobufjs/minimal.js';
import type { Frame } from '../../control/resource.ts';

export interface WireResource {
  readonly name: string;
  readonly version: string;
  readonly typeUrl: string;
  readonly value: Buffer;
  readonly aliases: readonly string[];
}

/** Field number → values, of a message whose fields are all length-delimited. */
function fields(bytes: Uint8Array): Map<number, Buffer[]> {
  const reader = protobuf.Reader.create(bytes);
  const found = new Map<number, Buffer[]>();
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if ((tag & 7) !== 2) throw new Error(`wire type ${tag & 7} of field ${tag >>> 3}`);
    const values = found.get(tag >>> 3) ?? [];
    found.set(tag >>> 3, [...values, Buffer.from(reader.bytes())]);
  }
  return found;
}

export function decodeFrames(frames: readonly Frame[]): WireResource[] {
  return (fields(Buffer.from(frames.join(''), 'latin1')).get(2) ?? []).map(resource);
}

function resource(bytes: Buffer): WireResource {
  const all = fields(bytes);
  const any = fields(all.get(2)?.[0] ?? Buffer.alloc(0));
  const text = (values: Buffer[] | undefined): string => values?.[0]?.toString() ?? '';
  return {
    name: text(all.get(3)),
    version: text(all.get(1)),
    typeUrl: text(any.get(1)),
    value: any.get(2)?.[0] ?? Buffer.alloc(0),
    aliases: (all.get(4) ?? []).map(alias => alias.toString()),
  };
}
