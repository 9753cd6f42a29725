/**
 * Paths against servers: whatever one of them makes of a path, a policy about what it makes of it is not got around. The
 * servers are written here once more, the way that they do it.
 */
import { posix } from 'node:path';
import * as fc from 'fast-check';
import t from 'tap';
import { normalisePath, pathReadings } from '../../model/http-path.ts';
import { decided, asked, policy } from './http-policy-help.ts';

function unescaped(path: string): string {
  return path.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

/** A directory that is named by a dot keeps its slash, as RFC 3986 §5.2.4 has it. */
function resolved(path: string): string {
  const normal = posix.normalize(path);
  return /\/\.{1,2}$/.test(path) && !normal.endsWith('/') ? `${normal}/` : normal;
}

/** Which file or handler a request for a path is for. */
const servers: Readonly<Record<string, (path: string) => string>> = {
  literal: path => path,
  wsgi: path => unescaped(path),
  'files below a root': path => resolved(unescaped(path)),
  'nginx, which merges slashes': path => resolved(unescaped(path).replaceAll(/\/+/g, '/')),
  'servlets, whose segments have parameters': path => resolved(unescaped(path.replaceAll(/;[^/]*/g, ''))),
  'decoded twice': path => resolved(unescaped(unescaped(path))),
  windows: path => resolved(unescaped(path).replaceAll('\\', '/')),
  browsers: path => new URL(path.replace(/^\/+/, '/'), 'http://x').pathname,
};

const piece = fc.constantFrom(
  '/',
  '//',
  'admin',
  'public',
  '.',
  '..',
  '%2e',
  '%2E%2e',
  '%2f',
  '%5c',
  '\\',
  ';x',
  ';',
  '%3b',
  '%252e',
  '%252f',
  '%61dmin',
  'a',
  'dmin',
  '%00',
  '%',
);
const hostile = fc.array(piece, { maxLength: 9 }).map(pieces => `/${pieces.join('')}`);

t.test('no way around a denied path', async () => {
  const deny = policy('DENY', [{ to: [{ operation: { paths: ['/admin*'] } }] }]);
  fc.assert(
    fc.property(hostile, raw => {
      const path = normalisePath(raw);
      if (path === null) return;
      for (const [name, server] of Object.entries(servers))
        if (server(path).startsWith('/admin') && decided([deny], asked(path)).allowed)
          throw new Error(`${raw} is ${path}, which is ${server(path)} to ${name}`);
    }),
    { numRuns: 20_000 },
  );
});

t.test('no way out of an allowed one', async () => {
  const allow = policy('ALLOW', [{ to: [{ operation: { paths: ['/public/*'] } }] }]);
  const except = policy('ALLOW', [{ to: [{ operation: { notPaths: ['/admin*'] } }] }]);
  fc.assert(
    fc.property(hostile, raw => {
      const path = normalisePath(raw);
      if (path === null) return;
      for (const [name, server] of Object.entries(servers)) {
        if (!server(path).startsWith('/public/') && decided([allow], asked(path)).allowed)
          throw new Error(`${raw} is ${path}, which is ${server(path)} to ${name}`);
        if (server(path).startsWith('/admin') && decided([except], asked(path)).allowed)
          throw new Error(`${raw} is ${path}, which is ${server(path)} to ${name}, and an exception`);
      }
    }),
    { numRuns: 20_000 },
  );
});

t.test('a path that every server reads as the same has one reading', async t => {
  for (const path of ['/', '/a', '/a/', '/a/b.c', "/a/b-_~!$&'()*+,=:@", '/a/.well-known/x'])
    t.same(pathReadings(path), [path], path);
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[a-z0-9_-]{1,5}$/), { maxLength: 5 }), segments => {
      const path = `/${segments.join('/')}`;
      return pathReadings(path)?.length === 1 && normalisePath(path) === path;
    }),
  );
});

t.test('a normalised path is its own', async () => {
  fc.assert(
    fc.property(hostile, raw => {
      const path = normalisePath(raw);
      return path === null || normalisePath(path) === path;
    }),
    { numRuns: 5_000 },
  );
});
