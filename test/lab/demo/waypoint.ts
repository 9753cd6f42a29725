/**
 * A waypoint for web, and what it can do that no node can: a canary, a split, a retry, a path that is denied, a trace. Each
 * is shown with the YAML that makes it, as it stands in the directory.
 */
import { eventually } from '../eventually.ts';
import type { KubernetesObject } from '../kubernetes.ts';
import { type PodName, services } from './cast.ts';
import { because } from './policy.ts';
import { milliseconds, type Report } from './report.ts';
import { askTraced, showTrace } from './trace.ts';
import type { Stage } from './stage.ts';
import { adminPolicy, inline, routeObject } from './waypoint-cast.ts';
import { WaypointStage } from './waypoint-stage.ts';

const url = 'http://web.shop/';
const many = 300;
const few = 20;

export async function waypoint(stage: Stage, report: Report): Promise<void> {
  report.section('A waypoint, for what only requests can tell: Service web gets one, and a second version');
  const started = performance.now();
  const act = await WaypointStage.setUp(stage);
  report.row(
    'waypoint$',
    `${act.command}  →  ready, with its pod, after ${milliseconds(performance.now() - started)}`,
  );
  const labels = { 'culvert.dev/use-waypoint': 'waypoint' };
  await act.apply('services.yaml', services(labels));
  report.row('services.yaml', `Service web, labels: ${inline(labels)}`);
  await canary(act, report);
  const traced = await askTraced(act);
  await retry(act, report);
  await deny(act, report);
  await showTrace(act, traced, report);
}

/** By a header, and by weight for all others. */
async function canary(act: WaypointStage, report: Report): Promise<void> {
  const route = routeObject(false);
  await act.apply('route.yaml', [route]);
  report.row('route.yaml', 'HTTPRoute of Service web, rules:');
  report.below(...rulesOf(route).map(rule => `- ${inline(rule)}`));
  const tester = await act.stage.curl('front', url, '-H', 'x-canary: v2');
  const isNew = tester.text.startsWith('page of web-v2');
  say(report, 'front', `curl -H 'x-canary: v2' ${url}`, report.expect(isNew, tester.text, tester.text));
  const pages = await ask(act, 'front', `${url}?[1-${many}]`);
  const byNew = pages.filter(line => line.startsWith('page of web-v2')).length;
  const byOld = pages.filter(line => line.startsWith(act.stage.secrets.page)).length;
  const shares = `${byOld} answers of v1, ${byNew} of v2`;
  // One in ten, give or take more than four standard deviations.
  const isFair = byOld + byNew === many && byNew >= many / 30 && byNew <= many / 5;
  say(report, 'front', `curl '${url}?[1-${many}]'`, report.expect(isFair, shares, shares));
}

/** The same requests without the retry and with it. */
async function retry(act: WaypointStage, report: Report): Promise<void> {
  const cart = `${url}cart?[1-${few}]`;
  const route = routeObject(true);
  const before = statuses(await ask(act, 'front', cart, '-w', '%{http_code}\n'));
  say(report, 'front', `curl '${cart}'`, report.expect(before.includes('503'), before, before));
  await act.apply('route.yaml', [route]);
  const [, rule] = rulesOf(route) as readonly { readonly retry?: unknown }[];
  report.row('route.yaml', `and in its second rule: ${inline({ retry: rule?.retry })}`);
  const known = act.accessLines().length;
  const after = statuses(await ask(act, 'front', cart, '-w', '%{http_code}\n'));
  const lines = await eventually(
    () => {
      const fresh = act.accessLines().slice(known);
      return fresh.length >= few ? fresh : null;
    },
    { what: `${few} access lines` },
  );
  const saved = lines.filter(({ attempts }) => attempts === 2).length;
  const how = `${after}, ${saved} of them at the second try`;
  say(report, 'front', `curl '${cart}'`, report.expect(!after.includes('503') && saved > 0, how, how));
}

/** Of all callers only batch may do what is below /admin. */
async function deny(act: WaypointStage, report: Report): Promise<void> {
  const policy = adminPolicy();
  await act.apply('admin.yaml', [policy]);
  report.row('admin.yaml', 'AuthorizationPolicy of Service web, action: DENY, rules:');
  report.below(...rulesOf(policy).map(rule => `- ${inline(rule)}`));
  for (const [from, expected] of [
    ['batch', '1 × 200'],
    ['front', '1 × 403'],
  ] as const) {
    const got = statuses(await ask(act, from, `${url}admin`, '-w', '\n%{http_code}\n'));
    const status = got.slice('1 × '.length);
    say(report, from, `curl ${url}admin`, report.expect(got === expected, status, status));
  }
  const line = await eventually(() => act.accessLines().findLast(({ code }) => code !== undefined), {
    what: 'the access line of a request that was denied',
  });
  report.row('access line', because(line));
}

/** Lines that curl prints. */
async function ask(
  { stage }: WaypointStage,
  from: PodName,
  ...args: readonly string[]
): Promise<readonly string[]> {
  const { stdout } = await stage.pod(from).run('curl', ['-sS', '--max-time', '10', ...args]);
  return stdout.split('\n');
}

/** `17 × 200, 3 × 503` */
function statuses(lines: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const line of lines) if (/^\d{3}$/.test(line)) counts.set(line, (counts.get(line) ?? 0) + 1);
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([status, count]) => `${count} × ${status}`)
    .join(', ');
}

function rulesOf({ spec }: KubernetesObject): readonly unknown[] {
  return (spec as { readonly rules: readonly unknown[] }).rules;
}

function say(report: Report, from: PodName, command: string, seen: string): void {
  report.row(`${from}$`, `${command}  →  ${seen}`);
}
