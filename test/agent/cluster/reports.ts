/** What the control plane hears of the pods of a node: everything at first, then what changes, and everything again. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { PodReport } from '../../../agent/cluster/node-pods.ts';
import { difference, Reports } from '../../../agent/cluster/reports.ts';
import { createLogger } from '../../../base/log.ts';
import { ReportService } from '../../help/report-service.ts';
import { eventually } from '../../lab/eventually.ts';
import { ControlChannel } from '../../../xds/channel.ts';
import { FakeControl, status } from '../../xds/fake-control.ts';

const log = createLogger({ component: 'test', level: 'silent' });
const good = (podUid: string): PodReport => ({ podUid, enrolled: true, code: '', message: '' });
const bad = (podUid: string, message = 'no'): PodReport => ({
  podUid,
  enrolled: false,
  code: 'ENROL_FAILED',
  message,
});
const of = (...reports: readonly PodReport[]): Map<string, PodReport> =>
  new Map(reports.map(report => [report.podUid, report]));

t.test('what is said to whom knows what', async t => {
  t.same(difference(null, of()), { full: true, pods: [], gone: [] }, 'that there is nothing is said as well');
  t.same(difference(null, of(good('a'))), { full: true, pods: [good('a')], gone: [] });
  t.equal(difference(of(good('a')), of(good('a'))), null);
  t.same(difference(of(bad('a'), good('b')), of(good('a'), bad('c'))), {
    full: false,
    pods: [good('a'), bad('c')],
    gone: ['b'],
  });
  t.same(difference(of(bad('a', 'x')), of(bad('a', 'y')))?.pods, [bad('a', 'y')]);
});

t.test('over the wire', async t => {
  const service = new ReportService();
  const control = await FakeControl.start({ services: service.addTo });
  t.teardown(() => control.stop());
  const rootPath = join(t.testdir(), 'root.pem');
  writeFileSync(rootPath, control.root.pem);
  const reports = new Reports({ endpoint: control.endpoint({ rootPath }), log });
  t.teardown(() => reports.close());
  reports.set([good('a'), bad('b')]);
  reports.start();
  const first = await service.streams.take();
  const full = await first.reports.take();
  t.match(full, { full: true, pods: [good('a'), bad('b')], gone: [] });
  t.match(full.agentVersion, /^\d+\./);
  reports.set([good('a'), bad('b')]);
  reports.set([good('b')]);
  t.match(
    await first.reports.take(),
    { full: false, pods: [good('b')], gone: ['a'] },
    'no word about no change',
  );

  first.end({ code: status.UNAVAILABLE, details: 'restarting' });
  const second = await service.streams.take();
  t.match(await second.reports.take(), { full: true, pods: [good('b')] });
  t.match(reports.trouble, { code: 'CONTROL_UNREACHABLE' }, 'the last one');
  second.end(null);
  reports.set([]);
  const third = await service.streams.take();
  t.match(await third.reports.take(), { full: true, pods: [] }, 'an end in order is no end either');
});

t.test('over a connection that is another call’s to end', async t => {
  const service = new ReportService();
  const control = await FakeControl.start({ services: service.addTo });
  t.teardown(() => control.stop());
  const rootPath = join(t.testdir(), 'root.pem');
  writeFileSync(rootPath, control.root.pem);
  const endpoint = control.endpoint({ rootPath });
  const channel = new ControlChannel(endpoint);
  t.teardown(() => channel.disconnect());
  const client = channel.client();
  const reports = new Reports({ endpoint, channel, log });
  reports.start();
  const first = await service.streams.take();
  t.strictSame(first.reports.left, [], 'nothing is said before anything is known');
  reports.set([]);
  t.match(await first.reports.take(), { full: true, pods: [] }, 'that there is nothing is something');
  first.end({ code: status.UNAVAILABLE, details: 'restarting' });
  const second = await service.streams.take();
  t.match(await second.reports.take(), { full: true });
  t.equal(channel.client(), client, 'a stream of reports that fails leaves it');
  channel.disconnect();
  const third = await service.streams.take();
  t.match(await third.reports.take(), { full: true }, 'when it is ended reports go on over the next');
  const next = channel.client();
  reports.close();
  t.equal(channel.client(), next, 'and they leave it when they end');
});

t.test('nobody there, and nobody who listens to reports', async t => {
  const control = await FakeControl.start();
  const rootPath = join(t.testdir(), 'root.pem');
  writeFileSync(rootPath, control.root.pem);
  const troubleOf = async (endpoint: ReturnType<FakeControl['endpoint']>): Promise<unknown> => {
    const reports = new Reports({ endpoint, log });
    t.teardown(() => reports.close());
    reports.start();
    await eventually(() => reports.trouble !== null, { what: 'the trouble' });
    return reports.trouble;
  };
  t.match(await troubleOf(control.endpoint({ rootPath })), { code: 'CONTROL_UNSUPPORTED' });
  t.match(await troubleOf(control.endpoint({ rootPath: `${rootPath}.none` })), { code: 'CONTROL_ROOT' });
  control.stop();
  t.match(await troubleOf(control.endpoint({ rootPath })), { code: 'CONTROL_UNREACHABLE' });
});
