/**
 * Patterns of policies: exact, `x*`, `*x`, `*` for anything that is there, and for paths templates (`{*}`, `{**}`).
 */
export type TextTest = (value: string) => boolean;

/** A test, or what is wrong with the pattern. */
export function textPattern(pattern: string): TextTest | string {
  if (pattern === '') return 'an empty value matches nothing';
  if (pattern === '*') return value => value !== '';
  const inner = pattern.replace(/^\*|\*$/, '');
  if (inner.includes('*')) return `"${pattern}" has a * that is not at its one end`;
  if (inner.length === pattern.length) return value => value === pattern;
  return pattern.startsWith('*') ? value => value.endsWith(inner) : value => value.startsWith(inner);
}

/** The same for a path, which may be a template. */
export function pathPattern(pattern: string): TextTest | string {
  return /[{}]/.test(pattern) ? template(pattern) : textPattern(pattern);
}

/** RFC 3986 pchar, without what has a meaning here. */
const literal = /^(?:[A-Za-z0-9\-._~!$&'()+,;=:@]|%[0-9A-Fa-f]{2})*$/;

/** `{*}` is one segment that is not empty, `{**}` any number of segments and the last of the operators. */
function template(pattern: string): TextTest | string {
  if (!pattern.startsWith('/')) return `"${pattern}": a template begins with /`;
  const parts = pattern.slice(1).split('/');
  const many = parts.indexOf('{**}');
  for (const [index, part] of parts.entries()) {
    if (part === '{**}' || part === '{*}') {
      if (many >= 0 && index > many) return `"${pattern}": {**} is the last of the operators`;
    } else if (!literal.test(part)) return `"${pattern}": a segment is {*}, {**} or characters of a path`;
  }
  if (many < 0) return path => matches(parts, segmentsOf(path));
  const before = parts.slice(0, many);
  const after = parts.slice(many + 1);
  return path => {
    const segments = segmentsOf(path);
    return (
      segments.length >= before.length + after.length &&
      matches(before, segments.slice(0, before.length)) &&
      matches(after, segments.slice(segments.length - after.length))
    );
  };
}

function segmentsOf(path: string): readonly string[] {
  return path.slice(1).split('/');
}

function matches(parts: readonly string[], segments: readonly string[]): boolean {
  return (
    parts.length === segments.length &&
    parts.every((part, at) => (part === '{*}' ? segments[at] !== '' : part === segments[at]))
  );
}
