/**
 * Paths as policy and routes compare them: one spelling for each resource (RFC 3986 §6.2.2), so that no other spelling
 * gets past a rule. What is forwarded is the normalised path too.
 */

/** Everything a path may consist of besides percent-encoding: RFC 3986 pchar and `/`, and what browsers leave as it is. */
const wellFormed = /^\/[!$-;=?-Z_a-z~@|[\]^"<>{}`\\%]*$/;
const encoded = /%([0-9A-Fa-f]{2})/g;
const unreserved = /[A-Za-z0-9\-._~]/;

/** What almost every path is: nothing to normalise. */
const plain = /^(?:\/[A-Za-z0-9\-_~!$&'()*+,;=:@][A-Za-z0-9\-._~!$&'()*+,;=:@]*)*\/?$/;

/**
 * The path in its one spelling, or null where it is none: characters that are decoded for no reason, dot segments that
 * are resolved, backslashes that some servers take for slashes. `%2f` stays what it is.
 */
export function normalisePath(path: string): string | null {
  if (plain.test(path)) return path;
  if (!wellFormed.test(path) || /%(?![0-9A-Fa-f]{2})/.test(path) || path.includes('?')) return null;
  const decoded = path.replaceAll(encoded, (whole, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16));
    if (character === '\0') return '\0';
    return unreserved.test(character) ? character : whole.toUpperCase();
  });
  if (decoded.includes('\0')) return null;
  return withoutDots(decoded.replaceAll('\\', '/').replaceAll(/%5C/g, '/'));
}

/** What a path looks like that every server reads as the same. */
const clear = /^(?:\/[A-Za-z0-9\-_~!$&'()*+,=:@][A-Za-z0-9\-._~!$&'()*+,=:@]*)*\/?$/;
/** More than any honest path has. */
const maxReadings = 64;

/** What some servers do to a path and others do not, each in an order of its own. */
const habits: readonly ((path: string) => string)[] = [
  path => path.replaceAll(encoded, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
  path => path.replaceAll('\\', '/'),
  path => path.replaceAll(/\/{2,}/g, '/'),
  // Segments of servlets have parameters.
  path => path.replaceAll(/;[^/]*/g, ''),
  withoutDots,
];

/**
 * The ways in which a server may read a normalised path; the first is the path. Some decode every escape, also `%2f` and
 * twice, merge slashes, take `;x` at the end of a segment for no part of it. All of it passes as it is, as there are
 * applications that live by it; a policy is asked about every reading. Null for a path with more of them than can be meant.
 */
export function pathReadings(path: string): readonly string[] | null {
  if (clear.test(path)) return [path];
  const readings = new Set([path]);
  for (const reading of readings) {
    for (const habit of habits) readings.add(habit(reading));
    if (readings.size > maxReadings) return null;
  }
  return [...readings];
}

/** RFC 3986 §5.2.4; a path that leads above the root ends at it. */
function withoutDots(path: string): string {
  if (!path.includes('/.')) return path;
  const segments: string[] = [];
  const all = path.slice(1).split('/');
  for (const [index, segment] of all.entries()) {
    const isLast = index === all.length - 1;
    if (segment === '..') segments.pop();
    if (segment !== '.' && segment !== '..') segments.push(segment);
    else if (isLast) segments.push('');
  }
  return `/${segments.join('/')}`;
}
