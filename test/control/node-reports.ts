import { type Client, type ClientWritableStream, status } from '@grpc/grpc-js';
import t from 'tap';
import type { Test } from 'tap';
import { NodeReports, type Report, type ReportingAgent } from '../../control/node-reports.ts';
import { protocols, type Sparse } from '../../proto/load.ts';
import type { WireNodeReport } from '../../proto/messages.ts';
import { eventually } from '../lab/eventually.ts';
import { type Ended, type Serving, bearer, dial, foundation, serve } from './serving.ts';

interface Running extends Serving {
  readonly reports: NodeReports;
  readonly heard: [agent: ReportingAgent, report: Report][];
}

async function start(t: Test, maxPods = 100): Promise<Running> {
  const base = foundation();
  const { log, metrics, guard } = base;
  const heard: [ReportingAgent, Report][] = [];
  const reports = new NodeReports({
    callerOf: guard.callerOf,
    onReport: (agent, report) => heard.push([agent, report]),
    log,
    metrics,
    maxPods,
  });
  return { ...(await serve(t, base, [reports])), reports, heard };
}

interface Reporting {
  readonly stream: ClientWritableStream<WireNodeReport>;
  /** Code 0 for a stream that ended well. */
  readonly ended: Promise<Ended>;
  send(report: Sparse<WireNodeReport>): void;
}

function report(client: Client, token: string): Reporting {
  const { path, requestSerialize, responseDeserialize } = protocols.services.nodeReports.Report;
  let stream: ClientWritableStream<WireNodeReport> | null = null;
  const ended = new Promise<Ended>(resolve => {
    stream = client.makeClientStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      bearer(token),
      error =>
        resolve(error === null ? { code: 0, details: '' } : { code: error.code, details: error.details }),
    );
    stream.on('error', () => {});
  });
  if (stream === null) throw new Error('no stream');
  const open: ClientWritableStream<WireNodeReport> = stream;
  return { stream: open, ended, send: message => open.write(protocols.nodeReport.create(message)) };
}

t.test('what an agent says is of the node of its token', async t => {
  const serving = await start(t);
  const agent = report(dial(t, serving), 'agent.n1');
  agent.send({ full: true, pods: [{ podUid: 'p1', enrolled: true }], agentVersion: '1.2' });
  agent.send({ pods: [{ podUid: 'p2', code: 'REDIRECT_FAILED', message: 'no' }], gone: ['p1'] });
  await eventually(() => serving.heard.length === 2);
  const who = { node: 'n1', podUid: 'uid-agent-n1-culvert-system/culvert-agent' };
  t.same(serving.heard, [
    [
      who,
      { full: true, pods: [{ podUid: 'p1', enrolled: true, problem: null }], gone: [], agentVersion: '1.2' },
    ],
    [
      who,
      {
        full: false,
        pods: [{ podUid: 'p2', enrolled: false, problem: { code: 'REDIRECT_FAILED', message: 'no' } }],
        gone: ['p1'],
        agentVersion: '',
      },
    ],
  ]);
  t.same(serving.reports.agents, [who]);
  agent.stream.end();
  t.match(await agent.ended, { code: 0 });
  t.same(serving.reports.agents, []);
  t.equal(serving.heard.length, 2, 'what was said stays said');
});

t.test('a stream begins with everything', async t => {
  const serving = await start(t);
  const agent = report(dial(t, serving), 'agent.n1');
  agent.send({ pods: [{ podUid: 'p1', enrolled: true }] });
  t.match(await agent.ended, { code: status.INVALID_ARGUMENT, details: /first report/ });
  t.same(serving.heard, []);
  t.equal(await serving.metric('node_reports_total', { result: 'refused' }), 1);
});

t.test('nonsense ends the stream, and nothing else', async t => {
  const serving = await start(t, 3);
  const other = report(dial(t, serving), 'agent.n2');
  other.send({ full: true });
  const bad: Sparse<WireNodeReport>[] = [
    { full: true, pods: [{ podUid: '' }] },
    { full: true, pods: [1, 2, 3, 4].map(at => ({ podUid: `p${at}` })) },
    { full: true, gone: ['1', '2', '3', '4'] },
    { full: true, pods: [{ podUid: 'x'.repeat(2_000) }] },
  ];
  for (const message of bad) {
    const agent = report(dial(t, serving), 'agent.n1');
    agent.send(message);
    t.match(await agent.ended, { code: status.INVALID_ARGUMENT });
  }
  other.send({ pods: [{ podUid: 'p', enrolled: true }] });
  await eventually(() => serving.heard.length === 2);
  t.same(
    serving.reports.agents.map(({ node }) => node),
    ['n2'],
  );
});

t.test('an agent has one stream, and two agents of a node may speak', async t => {
  const serving = await start(t);
  const first = report(dial(t, serving), 'agent.n1');
  first.send({ full: true });
  await eventually(() => serving.heard.length === 1);
  const again = report(dial(t, serving), 'agent.n1');
  t.match(await first.ended, { code: status.ABORTED });
  again.send({ full: true });
  await eventually(() => serving.heard.length === 2);
  t.equal(serving.reports.agents.length, 1);
  t.equal(await serving.metric('streams', { service: 'node-reports' }), 1);
});

t.test('who is no agent is not heard, and when it stops nobody is', async t => {
  const serving = await start(t);
  const pod = report(dial(t, serving), 'pod.n1.shop/cart');
  pod.send({ full: true, pods: [{ podUid: 'p', enrolled: true }] });
  t.match(await pod.ended, { code: status.PERMISSION_DENIED });
  const agent = report(dial(t, serving), 'agent.n1');
  agent.send({ full: true });
  await eventually(() => serving.heard.length === 1);
  serving.reports.close();
  t.match(await agent.ended, { code: status.UNAVAILABLE });
  t.match(await report(dial(t, serving), 'agent.n2').ended, { code: status.UNAVAILABLE });
});
