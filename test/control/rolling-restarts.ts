/** Two replicas are replaced in turn, in order and by crashes, while the cluster changes: nobody misses anything. */
import t from 'tap';
import { rollingRestarts } from '../../bench/control/rolling.ts';
import { createLogger } from '../../base/log.ts';

createLogger({ component: 'control', level: 'silent' });

t.test('twenty rolling restarts under fifty changes a second lose no change', async t => {
  const result = await rollingRestarts({
    size: { pods: 60, services: 12, nodes: 6 },
    agents: 6,
    restarts: 20,
    changesPerSecond: 50,
  });
  t.match(result, { restarts: 20, lost: [] });
  t.ok(result.changes > 0, 'the cluster did change');
  t.ok(result.connections > 6, 'agents did lose their streams');
});
