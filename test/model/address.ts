import * as fc from 'fast-check';
import { isIP } from 'node:net';
import t from 'tap';
import {
  canonicalIp,
  CidrSet,
  cidrContains,
  formatHostPort,
  ipValue,
  isLoopback,
  parseCidr,
  parseHostPort,
  parsePort,
} from '../../model/address.ts';

t.test('an address has one canonical spelling', async t => {
  const spellings: readonly (readonly [string, string])[] = [
    ['10.0.0.1', '10.0.0.1'],
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:0a00:0001', '10.0.0.1'],
    ['0:0:0:0:0:ffff:10.0.0.1', '10.0.0.1'],
    ['FD00:0:0:0:0:0:0:1', 'fd00::1'],
    ['fd00::0001', 'fd00::1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
    // Not IPv4-mapped, so it stays what it is.
    ['::1.2.3.4', '::102:304'],
  ];
  for (const [given, canonical] of spellings) t.equal(canonicalIp(given), canonical, given);
});

t.test('what looks like an address to some resolver is not one here', async t => {
  const garbage = ['', '127.1', '0x7f.0.0.1', '010.0.0.1', '10.0.0.256', '10.0.0.1.', '10.0.0', '2130706433'];
  garbage.push(
    ' 10.0.0.1',
    '10.0.0.1\n',
    '1::2::3',
    '12345::',
    'fe80::1%eth0',
    '[::1]',
    '::ffff:01.2.3.4',
    '1.2.3.4::',
  );
  for (const text of garbage) t.equal(canonicalIp(text), null, JSON.stringify(text));
});

const octet = fc.integer({ min: 0, max: 255 });
const v4 = fc.tuple(octet, octet, octet, octet).map(octets => octets.join('.'));
const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
const v6 = fc
  .array(group, { minLength: 8, maxLength: 8 })
  .map(groups => groups.map(value => value.toString(16)).join(':'));
const almost = fc.string({
  unit: fc.constantFrom(...Array.from('0123456789abfx:.%/[]- ')),
  maxLength: 24,
});

t.test('addresses: the operating system agrees on what is one, and canonical is a fixed point', async () => {
  fc.assert(
    fc.property(fc.oneof(v4, v6, almost, fc.ipV6(), fc.ipV4Extended()), text => {
      const canonical = canonicalIp(text);
      // isIP takes a zone; ours does not.
      if ((canonical !== null) !== (isIP(text) > 0 && !text.includes('%'))) return false;
      if (canonical === null) return ipValue(text) === null;
      // The URL parser of the platform spells IPv6 as RFC 5952 does.
      const expected = canonical.includes(':')
        ? new URL(`http://[${text}]/`).hostname.slice(1, -1)
        : canonical;
      return canonicalIp(canonical) === canonical && canonical === expected;
    }),
    { numRuns: 5000 },
  );
});

t.test('authorities are strict', async t => {
  t.strictSame(parseHostPort('1.2.3.4:80'), { host: '1.2.3.4', port: 80 });
  t.strictSame(parseHostPort('[fd00::1]:15008'), { host: 'fd00::1', port: 15008 });
  t.strictSame(parseHostPort('[::ffff:1.2.3.4]:80'), { host: '1.2.3.4', port: 80 });
  t.strictSame(parseHostPort('Web.Shop.svc:65535'), { host: 'web.shop.svc', port: 65535 });
  const garbage = [
    '',
    ':80',
    '1.2.3.4',
    '1.2.3.4:',
    '1.2.3.4:0',
    '1.2.3.4:080',
    '1.2.3.4:65536',
    '1.2.3.4:+80',
  ];
  garbage.push(
    '::1:80',
    '[::1]',
    '[::1]80',
    '[::1]:80:80',
    '[1.2.3.4]:80',
    '[web]:80',
    '1.2.3.4:80 ',
    'a b:80',
  );
  garbage.push(
    'user@web:80',
    'http://web:80',
    'web/:80',
    'web.:80',
    '.web:80',
    'web..shop:80',
    '-web:80',
    'wéb:80',
  );
  garbage.push(
    '127.1:80',
    '0x7f.1:80',
    '1.2.3.4.5:80',
    'web.1:80',
    '2130706433:80',
    `${'a'.repeat(64)}:80`,
    '*:80',
  );
  garbage.push('[fe80::1%eth0]:80', '1.2.3.4:80\u0000', '[[::1]]:80', '[::1]]:80');
  garbage.push(`${Array.from({ length: 4 }, () => 'a'.repeat(63)).join('.')}:80`);
  for (const text of garbage) t.equal(parseHostPort(text), null, JSON.stringify(text));
});

const label = fc.stringMatching(/^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$/);
const host = fc.oneof(
  v4,
  v6.map(text => canonicalIp(text) ?? text),
  fc.array(label, { minLength: 1, maxLength: 4 }).map(labels => labels.join('.')),
);

t.test(
  'authorities go round: what is formatted parses to the same, and what parses formats to one spelling',
  async () => {
    fc.assert(
      fc.property(host, fc.integer({ min: 1, max: 65535 }), (host, port) => {
        const parsed = parseHostPort(formatHostPort(host, port));
        return parsed?.host === host && parsed.port === port;
      }),
    );
    fc.assert(
      fc.property(fc.oneof(almost, fc.string()), text => {
        const parsed = parseHostPort(text);
        if (parsed === null) return true;
        const again = parseHostPort(formatHostPort(parsed.host, parsed.port));
        return again?.host === parsed.host && again.port === parsed.port;
      }),
      { numRuns: 5000 },
    );
  },
);

t.test('ports are decimal numbers from 1 to 65535', async t => {
  t.equal(parsePort('1'), 1);
  t.equal(parsePort('65535'), 65535);
  for (const text of ['', '0', '65536', '080', '-1', '1.0', '1e3', ' 1', '99999', '655350'])
    t.equal(parsePort(text), null, text);
});

t.test('loopback is what stays inside a namespace', async t => {
  t.equal(isLoopback('127.8.0.1'), true);
  t.equal(isLoopback('::1'), true);
  t.equal(isLoopback('10.127.0.1'), false);
  t.equal(isLoopback('::'), false);
});

t.test('prefixes', async t => {
  t.strictSame(parseCidr('10.0.0.0/8'), { address: '10.0.0.0', length: 8 });
  t.strictSame(parseCidr('10.0.0.1'), { address: '10.0.0.1', length: 32 });
  t.strictSame(parseCidr('FD00::/8'), { address: 'fd00::', length: 8 });
  t.strictSame(parseCidr('::1'), { address: '::1', length: 128 });
  t.strictSame(
    parseCidr('::ffff:10.0.0.0/104'),
    { address: '10.0.0.0', length: 8 },
    'IPv4-mapped counts as IPv4',
  );
  const garbage = [
    '',
    '/8',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '10.0.0/8',
  ];
  garbage.push('::/129', '::ffff:10.0.0.0/95', '10.0.0.0/8 ', 'web', '*');
  for (const text of garbage) t.equal(parseCidr(text), null, JSON.stringify(text));
  t.equal(
    CidrSet.from([
      { address: '10.0.0.0', length: 8 },
      { address: 'nonsense', length: 8 },
    ]),
    null,
  );
  t.equal(CidrSet.from([{ address: '10.0.0.0', length: 33 }]), null);
  t.equal(CidrSet.from([{ address: '::', length: 129 }]), null);
  t.equal(CidrSet.from([{ address: '10.0.0.0', length: 1.5 }]), null);
});

t.test('a prefix contains what shares its first bits, host bits or not', async t => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.1.2.3/8', '10.9.9.9', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['128.0.0.0/1', '255.0.0.1', true],
    ['0.0.0.0/0', '255.0.0.1', true],
    ['0.0.0.0/0', '::1', false],
    ['::/0', '10.0.0.1', false],
    ['::/0', 'fd00::1', true],
    ['fd00::/9', 'fd7f::1', true],
    ['fd00::/9', 'fd80::1', false],
    ['10.0.0.1/32', '10.0.0.1', true],
    ['10.0.0.1/32', '10.0.0.0', false],
  ];
  for (const [prefix, ip, inside] of cases) {
    t.equal(cidrContains(parseCidr(prefix) ?? { address: '', length: 0 }, ip), inside, `${prefix} ${ip}`);
  }
});

/** Bits as text, the slow way. */
function bits(ip: string): string {
  const value = ipValue(ip);
  if (typeof value === 'number') return value.toString(2).padStart(32, '0');
  return (value ?? []).map(group => group.toString(2).padStart(16, '0')).join('');
}

t.test('containment equals comparison of the bits written out', async () => {
  const near = fc.tuple(fc.oneof(v4, v6), fc.nat(128), fc.oneof(v4, v6), fc.boolean());
  fc.assert(
    fc.property(near, ([network, seed, other, same]) => {
      const address = canonicalIp(network) ?? '';
      const length = seed % (address.includes(':') ? 129 : 33);
      const ip = same ? address : (canonicalIp(other) ?? '');
      const comparable = address.includes(':') === ip.includes(':');
      const expected = comparable && bits(address).slice(0, length) === bits(ip).slice(0, length);
      return cidrContains({ address, length }, ip) === expected;
    }),
    { numRuns: 3000 },
  );
});
