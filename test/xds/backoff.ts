import t from 'tap';
import { maxPauseMs, reconnectPauseMs } from '../../xds/backoff.ts';

t.test('pauses double from 10 ms to 15 s and stay there', async t => {
  const pauses = Array.from({ length: 13 }, (_, failures) => reconnectPauseMs(failures, 1));
  t.strictSame(pauses, [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_120, 10_240, maxPauseMs, maxPauseMs]);
  t.equal(reconnectPauseMs(1e9, 1), maxPauseMs);
});

t.test('up to half of a pause is chance', async t => {
  t.equal(reconnectPauseMs(3, 0), 40);
  t.equal(reconnectPauseMs(3, 0.5), 60);
});
