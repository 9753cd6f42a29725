import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createLogger, levels, logDestination, logTo, setLevels } from '../../base/log.ts';

/** Collects the lines of a logger. */
function collector(): { lines: Record<string, unknown>[]; write(line: string): void } {
  const lines: Record<string, unknown>[] = [];
  return { lines, write: line => lines.push(JSON.parse(line) as Record<string, unknown>) };
}

function reset(t: Test): void {
  t.teardown(() => setLevels(''));
}

t.test('a line says when, how bad, who and what', async t => {
  const destination = collector();
  const log = createLogger({ component: 'alpha', level: 'info', destination });
  log.warn({ code: 'X', ms: 3 }, 'something');
  log.child({ pod: 'shop/web' }).info('more');
  log.debug('unseen');
  t.match(destination.lines, [
    {
      level: 'warn',
      component: 'alpha',
      code: 'X',
      ms: 3,
      msg: 'something',
      time: /^\d{4}-\d\d-\d\dT[\d:.]+Z$/,
    },
    { level: 'info', component: 'alpha', pod: 'shop/web', msg: 'more' },
  ]);
  t.equal(destination.lines.length, 2);
});

t.test('levels change while loggers live, for all or for some, also for those to come', async t => {
  reset(t);
  const beta = createLogger({ component: 'beta', level: 'info', destination: collector() });
  const gamma = createLogger({ component: 'gamma', level: 'warn', destination: collector() });
  t.equal(setLevels('beta=trace'), null);
  t.match(levels(), { beta: 'trace', gamma: 'warn' });
  t.equal(setLevels('error'), null);
  t.match(levels(), { beta: 'error', gamma: 'error' });
  t.equal(setLevels('debug,gamma=silent,delta=fatal'), null);
  t.same([beta.level, gamma.level], ['debug', 'silent']);
  t.equal(createLogger({ component: 'delta', level: 'info', destination: collector() }).level, 'fatal');
  t.equal(createLogger({ component: 'epsilon', level: 'info', destination: collector() }).level, 'debug');
  t.equal(setLevels(''), null);
  t.match(levels(), { beta: 'info', gamma: 'warn', delta: 'info' });
});

t.test('a level that is none changes nothing', async t => {
  reset(t);
  const zeta = createLogger({ component: 'zeta', level: 'info', destination: collector() });
  t.match(setLevels('zeta=loud'), /"loud" is no level; use one of trace, debug/);
  t.match(setLevels('debug,zeta=loud'), /"loud"/);
  t.equal(zeta.level, 'info');
});

t.test('logs may go to a file', async t => {
  const path = join(t.testdir(), 'agent.log');
  logTo(path);
  t.teardown(() => logTo(null));
  createLogger({ component: 'eta', level: 'info' }).info('kept');
  await logDestination().flush();
  t.match(JSON.parse(readFileSync(path, 'utf8')), { component: 'eta', msg: 'kept' });
});
