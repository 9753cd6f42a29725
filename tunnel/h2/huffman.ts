/**
 * Huffman decoding of header strings (RFC 7541 §5.2, Appendix B).
 *
 * The code is canonical, so the lengths below are the whole of it. At load they become a state machine that eats four
 * bits a step; the shortest code has five bits, so a step yields at most one byte. We never encode with it: on a tunnel the
 * few bytes saved are not worth the time.
 */
const lengths: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28,
  28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7,
  8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
  13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
  28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
  22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23,
  22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
  25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const endOfString = 256;
const emitNothing = -1;
const broken = 0xffff;

/** State × nibble → next state (`broken` where no code goes on) and the byte that was completed. */
const nextState = new Uint16Array(256 * 16);
const emitted = new Int16Array(256 * 16);
/** States in which a string may stop: at most seven bits into a code, all ones. */
const mayStop = new Uint8Array(256);

/** A tree node: children as node numbers, leaves as ~symbol. */
function buildTree(): [zero: number, one: number][] {
  const tree: [number, number][] = [[0, 0]];
  const order = lengths.map((length, symbol) => ({ length, symbol }));
  order.sort((a, b) => a.length - b.length || a.symbol - b.symbol);
  let code = 0;
  let previous = order[0]?.length ?? 0;
  for (const { length, symbol } of order) {
    code *= 2 ** (length - previous);
    previous = length;
    let node = 0;
    for (let bit = length - 1; bit >= 0; bit -= 1) {
      const side = Math.floor(code / 2 ** bit) % 2 === 0 ? 0 : 1;
      const pair = tree[node] ?? [0, 0];
      if (bit === 0) pair[side] = ~symbol;
      else if (pair[side] === 0) pair[side] = tree.push([0, 0]) - 1;
      node = pair[side];
    }
    code += 1;
  }
  return tree;
}

function buildTables(): void {
  const tree = buildTree();
  for (let state = 0; state < tree.length; state += 1) {
    for (let nibble = 0; nibble < 16; nibble += 1) {
      let node = state;
      let symbol = emitNothing;
      for (let bit = 3; bit >= 0 && node !== broken; bit -= 1) {
        const child = tree[node]?.[((nibble >> bit) & 1) as 0 | 1] ?? 0;
        if (child >= 0) node = child;
        else if (~child === endOfString) node = broken;
        else {
          symbol = ~child;
          node = 0;
        }
      }
      nextState[state * 16 + nibble] = node;
      emitted[state * 16 + nibble] = symbol;
    }
  }
  let node = 0;
  for (let depth = 0; depth <= 7; depth += 1) {
    mayStop[node] = 1;
    node = tree[node]?.[1] ?? 0;
  }
}

buildTables();

/** The most bytes that `encoded` bytes can decode to: the shortest code has five bits. */
export function huffmanBound(encoded: number): number {
  return Math.floor((encoded * 8) / 5);
}

/**
 * Decodes source[start, end) to the start of `target`, which has huffmanBound(end - start) bytes of room.
 * Returns the decoded length, or -1 for a code that does not exist, an end-of-string symbol or wrong padding.
 */
export function huffmanDecode(source: Uint8Array, start: number, end: number, target: Uint8Array): number {
  let state = 0;
  let length = 0;
  for (let at = start; at < end; at += 1) {
    const byte = source[at] ?? 0;
    const high = state * 16 + (byte >> 4);
    const middle = nextState[high] ?? broken;
    if (middle === broken) return -1;
    const first = emitted[high] ?? emitNothing;
    if (first !== emitNothing) {
      target[length] = first;
      length += 1;
    }
    const low = middle * 16 + (byte & 15);
    state = nextState[low] ?? broken;
    if (state === broken) return -1;
    const second = emitted[low] ?? emitNothing;
    if (second !== emitNothing) {
      target[length] = second;
      length += 1;
    }
  }
  return mayStop[state] === 1 ? length : -1;
}
