/**
 * The demo from the outside: it ends well and says what it promises, and leaves nothing, however it ends.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { cgroup2Mount } from '../lab/cgroup.ts';
import { eventually } from '../lab/eventually.ts';
import { loadRecord } from '../lab/record.ts';

const program = fileURLToPath(new URL('../lab/demo.ts', import.meta.url));
/** Of each comparison: long enough to have one. */
const short = ['--seconds', '0.6'];
/** Its own, so that a demo somebody has kept is left alone. */
const lab = `demo-${process.pid}`;

t.test('all acts go as they should, and nothing is left', async t => {
  const demo = start(...short);
  const { code } = await demo.exited;
  const report = demo.output();
  t.equal(code, 0, `the exit code; the report was:\n${report}`);
  for (const line of [
    /on the wire +port 80: .*; whoever listens reads\s+"secret-page-/,
    /enrolled +5 pods, .* nothing was restarted/,
    /on the wire +port 15008: .*TLS records; nobody who listens\s+finds "secret-page-/,
    /redis-cli -h 10\.96\.0\.11 set cart secret-value-\w+ {2}→ {2}OK \(same node\)/,
    /the server speaks first, "220 mail\.shop ESMTP/,
    /code=POLICY_DENIED src\.identity=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/batch policy=shop\/no-batch rule=0/,
    /code=POLICY_CHANGED src\.identity=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web/,
    /^ {2}front +cache +cache\.shop +same node /m,
    /finds any of the 4 secrets/,
    /code=TLS_PEER_NO_CERTIFICATE/,
    /code=TLS_PEER_UNTRUSTED/,
    /fail-closed .*refused/,
    /batch\$ +curl .*security=mutual_tls/,
    /^ {2}other node +one stream +Gbit\/s( +[\d.]+){3}×$/m,
    /^ {2}culvert_denied_connections_total\{direction="inbound",policy="shop\/no-batch"\} [1-9]/m,
    /x-canary: v2' http:\/\/web\.shop\/ {2}→ {2}page of web-v2/,
    /\d+ answers of v1, \d+ of v2/,
    /cart\?\[1-20\]' {2}→ {2}\d+ × 200, \d+ × 503/,
    /cart\?\[1-20\]' {2}→ {2}20 × 200, [1-9]\d* of them at the second try/,
    /batch\$ +curl http:\/\/web\.shop\/admin {2}→ {2}200/,
    /front\$ +curl http:\/\/web\.shop\/admin {2}→ {2}403/,
    /code=POLICY_DENIED src\.identity=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/front policy=shop\/admin rule=0/,
    /└─ waypoint\.shop {2}span \w{16}: GET \/trace 200, [\d.]+ ms, HTTPRoute shop\/web rule 3\n +└─ web(-v2)? {2}told 00-\w{32}-\w{16}-01/,
    /all was as it should be/,
    /Nothing is left behind/,
  ]) {
    t.match(report, line);
  }
  t.notMatch(report, /UNEXPECTED|undefined/);
  t.ok(report.split('\n').length <= 120, 'it is short enough to be read');
  t.same(traces(), []);
});

t.test('Ctrl-C ends it cleanly, wherever it is', async t => {
  const moments: Readonly<Record<string, (demo: Demo) => Promise<unknown>>> = {
    'while namespaces are made': demo => demo.says(/Culvert on this machine/),
    'while agents start': () => eventually(() => (loadRecord(lab)?.mounts.length ?? 0) > 0),
    'in the middle': demo => demo.says(/^4\. /m),
  };
  for (const [moment, come] of Object.entries(moments)) {
    const demo = start(...short);
    await come(demo);
    demo.interrupt();
    t.same(await demo.exited, { code: 130, signal: null }, moment);
    t.same(traces(), [], `${moment}: nothing is left`);
    t.notMatch(demo.output(), /LEFT BEHIND|UNEXPECTED|demo: /);
  }
});

t.test('what a killed demo leaves is taken down by the next, or by --down', async t => {
  const kill = async (): Promise<void> => {
    const demo = start(...short);
    await demo.says(/^3\. /m);
    demo.kill();
    await demo.exited;
    t.ok(traces().length > 5, 'kill -9 leaves something');
  };
  await kill();
  const next = start(...short);
  await next.says(/^1\. /m);
  t.match(next.output(), /first an earlier demo is taken down/);
  next.interrupt();
  t.equal((await next.exited).code, 130);
  t.same(traces(), []);
  await kill();
  await takeDown(t);
});

t.test('--keep leaves it up, in working order, and --down ends it', async t => {
  const demo = start(...short, '--keep');
  t.equal((await demo.exited).code, 0);
  const report = demo.output();
  for (const [name, expected] of [
    ['one request', /^(secret-page-|page of web-v2).*, served to 10\.244\.2\.5/],
    ['status', /shop\/front +enrolled/],
    ['metrics', /culvert_config_generation \d/],
    ['why', /answered with 403: explicitly denied by shop\/admin rule 0/],
  ] as const) {
    const command = new RegExp(`^ {2}${name} +(.*)$`, 'm').exec(report)?.[1] ?? 'false';
    t.match(await shell(command), expected, command);
  }
  await takeDown(t);
});

t.test('on a machine that cannot, it says what is missing', async t => {
  const demo = startWith({ PATH: '/nowhere' }, []);
  t.same(await demo.exited, { code: 69, signal: null });
  t.match(demo.output(), /demo: MACHINE_UNFIT: this needs .*curl.*install .*curl/);
});

t.test('a flag that it does not know', async t => {
  t.same(await start('--kep').exited, { code: 64, signal: null });
});

async function takeDown(t: Test): Promise<void> {
  const down = start('--down');
  t.equal((await down.exited).code, 0);
  t.match(down.output(), /Nothing is left behind/);
  t.same(traces(), []);
}

interface Demo {
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  output(): string;
  says(pattern: RegExp): Promise<unknown>;
  /** Ctrl-C in its terminal: reaches the whole process group. */
  interrupt(): void;
  /** kill -9 of the demo itself. */
  kill(): void;
}

function start(...args: readonly string[]): Demo {
  return startWith({}, args);
}

function startWith(env: Readonly<Record<string, string>>, args: readonly string[]): Demo {
  const child = spawn(process.execPath, [program, '--name', lab, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, ...env },
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  }
  const exited: Demo['exited'] = new Promise(resolve => {
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  return {
    exited,
    output: () => text,
    says: pattern =>
      eventually(() => pattern.test(text), {
        timeoutMs: 60_000,
        what: `${pattern} of the demo, which said ${text}`,
      }),
    interrupt: () => process.kill(-(child.pid ?? 0), 'SIGINT'),
    kill: () => child.kill('SIGKILL'),
  };
}

async function shell(command: string): Promise<string> {
  const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  await new Promise(resolve => child.once('close', resolve));
  return text;
}

/** Everything on this machine that bears the demo's name. */
function traces(): string[] {
  const mine = `cv-${lab}`;
  const entries = (directory: string): string[] => (existsSync(directory) ? readdirSync(directory) : []);
  const paths = [
    join(cgroup2Mount(), mine),
    `/tmp/culvert-lab-${lab}`,
    `/run/culvert-lab/${lab}.json`,
    ...['/run/netns', '/etc/netns'].flatMap(directory =>
      entries(directory)
        .filter(entry => entry.startsWith(`${mine}-`))
        .map(entry => join(directory, entry)),
    ),
  ];
  const processes = readdirSync('/proc').filter(pid => {
    try {
      const ended = readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
      return !ended && readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/${mine}/`);
    } catch {
      return false;
    }
  });
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return [
    ...paths.filter(path => existsSync(path)),
    ...processes.map(pid => `process ${pid}`),
    ...mounts.filter(line => line.includes(`culvert-lab-${lab}/`)),
  ];
}
