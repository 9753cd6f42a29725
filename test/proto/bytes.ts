/** Protocol buffers written by hand: field numbers of the tests are theirs and not those of the .proto files. */

/** Fields one after another. */
export function fields(...parts: readonly Buffer[]): Buffer {
  return Buffer.concat(parts);
}

export function varint(number: number, value: number | bigint): Buffer {
  return Buffer.concat([raw((number << 3) | 0), raw(value)]);
}

export function bytes(number: number, content: Uint8Array): Buffer {
  return Buffer.concat([raw((number << 3) | 2), raw(content.length), content]);
}

export function text(number: number, content: string): Buffer {
  return bytes(number, Buffer.from(content));
}

export function message(number: number, ...parts: readonly Buffer[]): Buffer {
  return bytes(number, fields(...parts));
}

/** Repeated numbers of one field. */
export function packed(number: number, ...values: readonly number[]): Buffer {
  return bytes(number, Buffer.concat(values.map(raw)));
}

export function double(number: number, value: number): Buffer {
  const content = Buffer.alloc(8);
  content.writeDoubleLE(value);
  return Buffer.concat([raw((number << 3) | 1), content]);
}

/** A varint by itself; negative numbers take ten bytes. */
function raw(value: number | bigint): Buffer {
  const result: number[] = [];
  let left = BigInt.asUintN(64, BigInt(value));
  do {
    const low = Number(left & 0x7fn);
    left >>= 7n;
    result.push(left === 0n ? low : low | 0x80);
  } while (left !== 0n);
  return Buffer.from(result);
}
