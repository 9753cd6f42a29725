/** Huffman decoding against the facts of RFC 7541 and against what node's own HTTP/2 encodes. */
import * as fc from 'fast-check';
import t from 'tap';
import { huffmanBound, huffmanDecode } from '../../../tunnel/h2/huffman.ts';

function decode(hex: string): string | null {
  const source = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  const target = Buffer.alloc(huffmanBound(source.length));
  const length = huffmanDecode(source, 0, source.length, target);
  return length < 0 ? null : target.toString('latin1', 0, length);
}

t.test('strings of RFC 7541 appendix C', async t => {
  const vectors: Record<string, string> = {
    'f1e3 c2e5 f23a 6ba0 ab90 f4ff': 'www.example.com',
    'a8eb 1064 9cbf': 'no-cache',
    '25a8 49e9 5ba9 7d7f': 'custom-key',
    '25a8 49e9 5bb8 e8b4 bf': 'custom-value',
    '6402': '302',
    'aec3 771a 4b': 'private',
    'd07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff': 'Mon, 21 Oct 2013 20:13:21 GMT',
    '9d29 ad17 1863 c78f 0b97 c8e9 ae82 ae43 d3': 'https://www.example.com',
    '640e ff': '307',
    '9bd9 ab': 'gzip',
    '94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07':
      'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
  };
  for (const [hex, text] of Object.entries(vectors)) t.equal(decode(hex), text, text);
});

t.test('codes at the ends of the table', async t => {
  t.equal(decode('07'), '0', 'the shortest code: 00000, padded with ones');
  t.equal(decode('ffc7'), '\0', 'symbol 0: 13 bits, ffc7 with its padding');
  t.equal(decode('fffffff3'), '\n', 'thirty bits: symbol 10');
  t.equal(decode('fffffffb'), '\u0016', 'thirty bits: symbol 22, the last but the end-of-string symbol');
  t.equal(decode('ffffffef'), '\u00f9', 'symbol 249: 28 bits');
});

t.test('what is not a code is refused', async t => {
  t.equal(decode('ffffffff'), null, 'the end-of-string symbol');
  t.equal(decode('07ff'), null, 'eight bits of padding');
  t.equal(decode('00'), null, 'padding that is not ones');
  t.equal(decode(''), '', 'nothing is the empty string');
});

t.test('never writes beyond its bound, whatever the bytes', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
      const bound = huffmanBound(bytes.length);
      const target = new Uint8Array(bound + 8).fill(0xaa);
      const length = huffmanDecode(bytes, 0, bytes.length, target);
      return length <= bound && target.subarray(bound).every(byte => byte === 0xaa);
    }),
  );
});
