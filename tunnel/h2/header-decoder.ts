/**
 * HPACK decoding (RFC 7541 §3, §5, §6): one instance per connection, since its dynamic table follows every block.
 *
 * Hostile blocks are the normal case to think of: lengths, integers, indices and the size of what a block unfolds to are
 * bounded before anything is built, so a one-byte reference to a large field cannot be repeated without end.
 */
import { calmFault, compressionFault } from './errors.ts';
import { DynamicTable, fieldSize, staticTable } from './header-table.ts';
import type { HeaderField } from './header-table.ts';
import { huffmanBound, huffmanDecode } from './huffman.ts';
import type { H2Limits } from './limits.ts';

/** The table that every connection begins with; we never announce another HEADER_TABLE_SIZE. */
const maxTableBytes = 4096;

/** Larger integers have no use in a block of bounded size. */
const maxInteger = 0x0fff_ffff;

let scratch = Buffer.allocUnsafeSlow(4096);

export class HeaderDecoder {
  readonly #limits: H2Limits;
  readonly #table = new DynamicTable(maxTableBytes);
  #source: Buffer = scratch;
  #at = 0;
  #end = 0;

  constructor(limits: H2Limits) {
    this.#limits = limits;
  }

  /** Changes whenever the same bytes may decode to something else than before. */
  get generation(): number {
    return this.#table.generation;
  }

  /**
   * Decodes one whole header block, source[start, end). Throws a COMPRESSION_ERROR Fault for what is not HPACK, after which
   * the connection cannot go on, and an ENHANCE_YOUR_CALM Fault for a list beyond the limits.
   */
  decode(source: Buffer, start: number, end: number): HeaderField[] {
    const fields: HeaderField[] = [];
    this.#source = source;
    this.#at = start;
    this.#end = end;
    let listBytes = 0;
    while (this.#at < end) {
      const first = source[this.#at] ?? 0;
      if ((first & 0xe0) === 0x20) {
        if (fields.length > 0) throw compressionFault('table size update after a field');
        this.#updateSize();
        continue;
      }
      const field = this.#field(first);
      listBytes += fieldSize(field);
      if (listBytes > this.#limits.maxHeaderListBytes) {
        throw calmFault('H2_HEADER_FLOOD', `header list over ${this.#limits.maxHeaderListBytes} bytes`);
      }
      if (fields.push(field) > this.#limits.maxHeaderFields) {
        throw calmFault('H2_HEADER_FLOOD', `more than ${this.#limits.maxHeaderFields} header fields`);
      }
    }
    this.#source = scratch;
    return fields;
  }

  #field(first: number): HeaderField {
    if (first >= 0x80) return this.#indexed(this.#integer(7));
    const indexing = first >= 0x40;
    const nameIndex = this.#integer(indexing ? 6 : 4);
    const name = nameIndex === 0 ? this.#string() : this.#indexed(nameIndex)[0];
    const field: HeaderField = [name, this.#string()];
    if (indexing) this.#table.add(field);
    return field;
  }

  #indexed(index: number): HeaderField {
    const field =
      index <= staticTable.length ? staticTable[index - 1] : this.#table.at(index - staticTable.length - 1);
    if (field === undefined || field === null)
      throw compressionFault(`header index ${index} that names nothing`);
    return field;
  }

  #updateSize(): void {
    const size = this.#integer(5);
    if (size > maxTableBytes) throw compressionFault(`table of ${size} bytes, ${maxTableBytes} are allowed`);
    this.#table.resize(size);
  }

  /** An integer whose first byte has `prefix` low bits of it (§5.1). */
  #integer(prefix: number): number {
    const mask = (1 << prefix) - 1;
    let value = this.#byte() & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = this.#byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (value > maxInteger) break;
      if (byte < 0x80) return value;
    }
    throw compressionFault('integer too large');
  }

  #byte(): number {
    if (this.#at >= this.#end) throw compressionFault('header block ends inside a field');
    const byte = this.#source[this.#at] ?? 0;
    this.#at += 1;
    return byte;
  }

  #string(): string {
    const huffman = this.#at < this.#end && (this.#source[this.#at] ?? 0) >= 0x80;
    const length = this.#integer(7);
    const start = this.#at;
    const end = start + length;
    if (end > this.#end) throw compressionFault('header block ends inside a string');
    this.#at = end;
    if (!huffman) return this.#source.toString('latin1', start, end);
    const bound = huffmanBound(length);
    if (scratch.length < bound) scratch = Buffer.allocUnsafeSlow(bound);
    const decoded = huffmanDecode(this.#source, start, end, scratch);
    if (decoded < 0) throw compressionFault('invalid Huffman code');
    return scratch.toString('latin1', 0, decoded);
  }
}
