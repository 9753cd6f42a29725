/** The benchmark of the control plane, small: it runs to its end and says everything that it should. */
import t from 'tap';
import { measureControl } from '../../bench/control/measures.ts';
import { controlOptions, variables } from '../../bench/control/options.ts';

t.test('ten agents and fifty pods: every row is there and has a value', async t => {
  const environment = {
    PODS: '50',
    SERVICES: '5',
    NODES: '10',
    AGENTS: '10',
    RATE: '20',
    SECONDS: '1',
    RESTARTS: '2',
  };
  const rows = [];
  for await (const row of measureControl(controlOptions(environment))) rows.push(row);
  const measures = [
    'control plane with no agent',
    'all agents know everything',
    'control plane with its agents',
    'change to last ACK at 20/s, p50',
    'change to last ACK at 20/s, p99',
    'processor at 20/s',
    'processor time per change',
    'bytes per change and agent',
    'responses per agent',
    'control plane under change',
    'restart: the control plane is ready',
    'restart: all agents know everything',
    'control plane after the restart, at most',
    'agent store before it is told anything',
    'agent store that knows 50 workloads',
    'agent store on demand, 55 asked for',
    'workloads that it knows then',
    'one answer, p50',
    'rolling restarts at 50/s',
    'changes meanwhile',
    'agents that know something else in the end',
  ];
  t.strictSame(
    rows.map(({ measure }) => measure),
    measures,
  );
  for (const { measure, culvert } of rows) t.ok(Number.isFinite(culvert) && culvert >= 0, measure);
});

t.test('options come from the environment and unknown ones are refused', async t => {
  t.match(controlOptions({}), { pods: 30_000, services: 3_000, agents: 1_000, changesPerSecond: 100 });
  t.strictSame(controlOptions({ NODE_FLAGS: '--a  --b' }).nodeFlags, ['--a', '--b']);
  t.throws(() => controlOptions({ PODS: 'many' }), { code: 'BENCH_OPTION', message: /PODS/ });
  t.throws(() => controlOptions({ AGENTS: '11', NODES: '10' }), { code: 'BENCH_OPTION', message: /NODES/ });
  t.throws(() => controlOptions({ PODS: '1', SERVICES: '2' }), { code: 'BENCH_OPTION', message: /SERVICES/ });
  t.ok(Object.values(variables).every(({ meaning }) => meaning !== ''));
});
