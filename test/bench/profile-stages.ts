/** Samples of a waypoint belong to the stage that is the innermost in their stack, and to the kernel where that is where they end. */
import t from 'tap';
import { samplesByStage, stages } from '../../bench/profile-stages.ts';

const node = '(/opt/node/bin/node)';
const code = '(/tmp/perf-7.map)';
const rest = stages.at(-1) ?? '';

function stack(...frames: readonly string[]): string {
  return `${frames.map(frame => `\t    7f7ec42ed9a0 ${frame}`).join('\n')}\n`;
}

t.test('what is nobody’s in particular is so the part of whoever called it', async t => {
  const script = [
    stack(
      `tcp_sendmsg ([kernel.kallsyms])`,
      `node::TLSWrap::EncOut ${node}`,
      `JS:*'flush file:///culvert/tunnel/h2/output.ts:109:8 ${code}`,
    ),
    stack(
      `JS:*'emit node:events:489:44 ${code}`,
      `JS:*'onData file:///culvert/waypoint/stream-socket.ts:68:9 ${code}`,
      `JS:*'data file:///culvert/tunnel/h2/receiver.ts:90:7 ${code}`,
    ),
    stack(
      `v8::internal::Heap::CollectGarbage ${node}`,
      `JS:+'pick file:///culvert/waypoint/upstream.ts:114:7 ${code}`,
    ),
    stack(`JS:*'processTicksAndRejections node:internal/process/task_queues:72:35 ${code}`, `uv_run ${node}`),
  ].join('\n');
  const samples = samplesByStage(script);
  t.same(samples.get('tunnels: TLS, and sockets'), { user: 0, kernel: 1 });
  t.same(samples.get('tunnels: streams as sockets'), { user: 1, kernel: 0 });
  t.same(samples.get('garbage collection'), { user: 1, kernel: 0 });
  t.same(samples.get(rest), { user: 1, kernel: 0 });
  t.equal(samples.get('tunnels: frames of HTTP/2')?.user, 0);
});

t.test('nothing is no sample', async t => {
  const all = [...samplesByStage('\n\n').values()];
  t.equal(all.length, stages.length);
  t.ok(all.every(({ user, kernel }) => user + kernel === 0));
});
