/**
 * Policies that are written while connections come and go: the next one is refused, and one that is open is cut.
 */
import { eventually } from '../eventually.ts';
import { type CallerPolicy, policyObject } from './cast.ts';
import { milliseconds, type Report } from './report.ts';
import type { AccessLine, Stage } from './stage.ts';

const url = 'http://web.shop/';

export async function refuseTheNext(stage: Stage, report: Report): Promise<void> {
  report.section('A policy is written while it runs, and the next connection is refused');
  const file = 'no-batch.yaml';
  const policy = {
    name: 'no-batch',
    app: 'web',
    action: 'DENY',
    callers: ['cluster.local/ns/shop/sa/batch'],
  } as const;
  report.row(file, describe(policy));
  const { generation } = (await stage.status('node-b')).configuration;
  const written = performance.now();
  stage.write(file, [policyObject(policy)]);
  const inForce = async (): Promise<boolean> =>
    (await stage.status('node-b')).configuration.generation > generation;
  await eventually(inForce, { intervalMs: 2, what: 'the policy in force' });
  report.row('in force', `${milliseconds(performance.now() - written)} after the file was written`);
  const batch = await stage.curl('batch', url);
  report.row('batch$', `curl ${url}  →  ${report.expect(!batch.ok, 'refused', 'answered')}, ${batch.text}`);
  const line = await stage.accessLine('node-b', { 'src.workload': 'batch', code: 'POLICY_DENIED' });
  report.row('access line', because(line));
  const front = await stage.curl('front', url);
  report.row('front$', `curl ${url}  →  ${report.expect(front.ok, front.text, front.text)}`);
  stage.remove(file);
  await eventually(async () => (await stage.curl('batch', url)).ok, { what: 'that batch may again' });
}

export async function cutAnOpenOne(stage: Stage, report: Report): Promise<void> {
  report.section('A policy reaches a connection that is open: web listens to a Redis channel, then may not');
  const { message } = stage.secrets;
  const subscribe = ['-h', 'cache.shop', 'subscribe', 'orders'];
  await using subscriber = stage.pod('web').spawn('redis-cli', subscribe);
  await subscriber.says(/subscribe\norders/);
  await stage.pod('front').run('redis-cli', ['-h', 'cache.shop', 'publish', 'orders', message]);
  await subscriber.says(new RegExp(message));
  report.row('web$', `redis-cli ${subscribe.join(' ')}  →  gets what front publishes: ${message}`);
  const file = 'only-front.yaml';
  const policy = {
    name: 'only-front',
    app: 'cache',
    action: 'ALLOW',
    callers: ['cluster.local/ns/shop/sa/front'],
  } as const;
  report.row(file, describe(policy));
  const written = Date.now();
  stage.write(file, [policyObject(policy)]);
  const line = await stage.accessLine('node-a', { 'src.workload': 'web', code: 'POLICY_CHANGED' });
  await subscriber.exited;
  const took = milliseconds(Date.parse(String(line['time'])) - written);
  report.row(
    'web',
    `is cut off ${took} after the file was written; redis-cli says: ${lastLine(subscriber.stderr() || subscriber.stdout())}`,
  );
  report.row('access line', because(line));
  stage.remove(file);
}

/** The part of an access line that answers "who?" and "why?". */
export function because(line: AccessLine): string {
  return ['code', 'src.identity', 'policy', 'rule', 'reason']
    .filter(name => line[name] !== undefined)
    .map(name => `${name}=${name === 'reason' ? `"${line[name]}"` : line[name]}`)
    .join(' ');
}

/** What such a policy says, on one line. */
function describe({ app, action, callers }: CallerPolicy): string {
  return `AuthorizationPolicy for app=${app}: ${action} principals ${callers.join(', ')}`;
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
