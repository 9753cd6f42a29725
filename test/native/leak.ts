/** A hundred thousand calls of every kind, failures included, leave no descriptor and no memory behind. */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import type { Mark } from './leak-calls.ts';

const calls = 100_000;
t.setTimeout(290_000);

t.test('nothing is left behind', { timeout: 280_000 }, async t => {
  const marks: Mark[] = [];
  await new Promise<void>((resolve, reject) => {
    // A small young generation: what grows then is not V8 putting off its work.
    const options = { workerData: { calls }, resourceLimits: { maxYoungGenerationSizeMb: 2 } };
    const worker = new Worker(join(import.meta.dirname, 'leak-calls.ts'), options);
    worker.on('message', (mark: Mark) => marks.push(mark));
    worker.once('error', reject);
    worker.once('exit', () => resolve());
  });
  const [warm, end] = marks;
  if (warm === undefined || end === undefined) throw new Error('the calls did not end');
  const grown = (end.resident - warm.resident) / 2 ** 20;
  t.comment(
    `${end.calls - warm.calls} calls, ${end.failures} failures, memory grew by ${grown.toFixed(1)} MiB`,
  );
  t.ok(end.calls - warm.calls >= calls);
  t.ok(end.failures > warm.failures);
  t.equal(end.files, warm.files);
  // A leak of 100 bytes per call would be 10 MiB.
  t.ok(grown < 8, `resident memory grew by ${grown.toFixed(1)} MiB`);
});
