/** What the documentation leads to is there: links, headings, files, commands with their options, and targets of the Makefile. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import t from 'tap';
import { defaultLimits } from '../../agent/config.ts';
import { tunnelDefaults } from '../../tunnel/defaults.ts';
import { defaultWaypointLimits } from '../../waypoint/config.ts';

const root = join(import.meta.dirname, '../..');
const pages = ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'bpf/README.md']
  .concat(readdirSync(join(root, 'docs')).map(name => `docs/${name}`))
  .filter(page => page.endsWith('.md'))
  .map(page => ({ page, text: readFileSync(join(root, page), 'utf8') }));

/** Headings as GitHub makes anchors of them. */
function anchorsOf(text: string): Set<string> {
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading);
  return new Set(
    headings.map(heading =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

t.test('every link inside the repository', async t => {
  let links = 0;
  for (const { page, text } of pages) {
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      links += 1;
      const [path = '', anchor] = target.split('#', 2);
      const file = path === '' ? join(root, page) : join(root, dirname(page), path);
      if (!existsSync(file)) t.fail(`${page}: there is no ${relative(root, file)}`);
      else if (anchor !== undefined && !anchorsOf(readFileSync(file, 'utf8')).has(anchor))
        t.fail(`${page}: ${target} leads to no heading`);
    }
  }
  t.ok(links > 50, `${links} links`);
});

t.test('every file that is named', async t => {
  const folders = readdirSync(root, { withFileTypes: true })
    .filter(entry => entry.isDirectory() && entry.name !== 'node_modules' && !entry.name.startsWith('.'))
    .map(({ name }) => name);
  const files = folders.flatMap(folder =>
    readdirSync(join(root, folder), { encoding: 'utf8', recursive: true }).map(path => `${folder}/${path}`),
  );
  let named = 0;
  const look = (page: string, name: string, isThere: (file: string) => boolean): void => {
    named += 1;
    if (!files.some(isThere)) t.fail(`${page}: there is no ${name}`);
  };
  const below = new RegExp(
    `(?<![\\w./-])(?:${folders.join('|')})/[\\w./*-]*(?:\\.(?:[ch]|cc|ts|py|sh|json|yaml|md)\\b|\\w/)`,
    'g',
  );
  for (const { page, text } of pages) {
    for (const [path] of text.matchAll(below)) {
      // Made by whoever builds or measures.
      if (path.includes('/build/')) continue;
      const fits = pattern(`^${path.replace(/\/$/, '')}$`);
      const nearby = pattern(`^${join(dirname(page), path).replace(/\/$/, '')}$`);
      look(page, path, file => fits.test(file) || nearby.test(file));
    }
    // By its last name alone, or by the end of that (`-brief.ts` after kernel-path.ts).
    for (const [name] of text.matchAll(/(?<![\w./*-])-?\w[\w.*-]*\.(?:ts|py|bpf\.c)\b/g)) {
      const fits = pattern(`${name.startsWith('-') ? '' : '(^|/)'}${name}$`);
      look(page, name, file => fits.test(file));
    }
  }
  t.ok(named > 100, `${named} files`);
});

/** As a shell has it: `*` is anything but a slash. */
function pattern(text: string): RegExp {
  return new RegExp(text.replaceAll('.', '\\.').replaceAll('*', '[^/]*'));
}

/** `--help` of a command by its words, or null where there is no such command. */
const helps = new Map<string, string | null>();
function helpOf(...command: readonly string[]): string | null {
  const name = command.join(' ');
  const known = helps.get(name);
  if (known !== undefined) return known;
  let help: string | null = null;
  try {
    const args = [join(root, 'cli/main.ts'), ...command, '--help'];
    help = execFileSync(process.execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    // There is none.
  }
  // The help of a word that is none of its commands is that of the command above.
  if (help?.startsWith(`Usage: culvert ${name} `) !== true) help = null;
  helps.set(name, help);
  return help;
}

t.test('every command, with its options', async t => {
  let commands = 0;
  for (const { page, text } of pages) {
    // Only what is typed: spans of code, and lines of blocks.
    const typed = text.matchAll(/`(?:cli\/)?culvert ([a-z][^`\n]*)`|^ {4,}(?:cli\/)?culvert ([a-z].*)$/gm);
    for (const [, span, line] of typed) {
      // Behind two spaces stands what it does.
      const [call = ''] = (span ?? line ?? '').split(/ {2,}/);
      const words = call.split(/\s+/);
      const [command = '', second = ''] = words;
      const help = helpOf(command);
      if (help === null) {
        t.fail(`${page}: there is no culvert ${command}`);
        continue;
      }
      commands += 1;
      const below = /^[a-z]+$/.test(second) && /\[command\]/.test(help) ? helpOf(command, second) : help;
      if (below === null) {
        t.fail(`${page}: there is no culvert ${command} ${second}`);
        continue;
      }
      const options = words.flatMap(word => /^\[?(--?[a-zA-Z][a-z-]*)/.exec(word)?.[1] ?? []);
      for (const option of options)
        if (!new RegExp(`(^|[\\s,])${option}\\b`, 'm').test(below)) t.fail(`${page}: ${call}: no ${option}`);
    }
  }
  t.ok(commands > 20, `${commands} commands`);
});

t.test('every target of make', async t => {
  const makefile = readFileSync(join(root, 'Makefile'), 'utf8');
  let targets = 0;
  for (const { page, text } of pages) {
    for (const [, target = ''] of text.matchAll(/(?:`| {4})make ([a-z][a-z-]*)/g)) {
      targets += 1;
      if (!new RegExp(`^${target}:`, 'm').test(makefile)) t.fail(`${page}: make has no target ${target}`);
    }
  }
  t.ok(targets > 5, `${targets} targets`);
});

/** Defaults by name, of the rows of a page that are about these names. */
function defaultsIn(page: string, names: ReadonlySet<string>): Map<string, number> {
  const { text = '' } = pages.find(each => each.page === page) ?? {};
  const found = new Map<string, number>();
  for (const [, first = '', second = ''] of text.matchAll(/^\| (`[^|]*) \| ([\d, ]+) \|/gm)) {
    const values = second.split(', ').map(Number);
    for (const [at, [, name = '']] of [...first.matchAll(/`(\w+)`/g)].entries())
      if (names.has(name)) found.set(name, values[at] ?? Number.NaN);
  }
  return found;
}

t.test('every error code', async t => {
  const { text = '' } = pages.find(({ page }) => page === 'docs/errors.md') ?? {};
  const said = [...text.matchAll(/`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_?\*?)`/g)].map(([, code = '']) => code);
  const families = said.filter(code => code.endsWith('*')).map(code => code.slice(0, -1));
  const codes = new Set<string>();
  for (const folder of ['agent', 'base', 'cli', 'control', 'native', 'tunnel', 'waypoint', 'xds'])
    for (const path of readdirSync(join(root, folder), { encoding: 'utf8', recursive: true })) {
      if (!path.endsWith('.ts')) continue;
      const source = readFileSync(join(root, folder, path), 'utf8');
      // The first argument may choose among several; that of `asCulvertError` is for what nobody expects.
      const made = source.matchAll(/new CulvertError\(\s*([^,]*?),|asCulvertError\([^,;]*,\s*([^),;]*)\)/g);
      for (const [, first, second] of made)
        for (const [, code = ''] of `${first ?? ''}${second ?? ''}`.matchAll(
          /'([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)'/g,
        ))
          codes.add(code);
    }
  for (const code of codes)
    if (!said.includes(code) && !families.some(family => code.startsWith(family))) t.fail(code);
  t.ok(codes.size > 150, `${codes.size} codes`);
});

t.test('every deadline and cap, with its default', async t => {
  const agent = defaultsIn('docs/running.md', new Set(Object.keys(defaultLimits)));
  t.same(Object.fromEntries(agent), defaultLimits);
  const waypoint = defaultsIn('docs/waypoint.md', new Set(Object.keys(defaultWaypointLimits)));
  t.same({ ...tunnelDefaults, ...Object.fromEntries(waypoint) }, defaultWaypointLimits);
  const { text = '' } = pages.find(({ page }) => page === 'docs/waypoint.md') ?? {};
  for (const name of Object.keys(tunnelDefaults)) t.ok(text.includes(`\`${name}\``), name);
});
