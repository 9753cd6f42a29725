/**
 * The agent of a node is killed while its pods live on: each does what it has declared, and the next agent takes over.
 */
import { eventually } from '../eventually.ts';
import { milliseconds, type Report } from './report.ts';
import type { Stage } from './stage.ts';

const counter = 'culvert_plaintext_connections_total';

export async function withoutAgent(stage: Stage, report: Report): Promise<void> {
  report.section('The agent of node-a is killed with -9; another one takes over');
  const url = `http://${stage.pod('web').address}/`;
  await stage.agent('node-a').kill();
  const front = await stage.curl('front', url);
  report.row(
    'fail-closed',
    `front$ curl ${url}  →  ${report.expect(!front.ok, 'refused', 'PASSED')}, ${front.text.replace(/ after.*/, '')}`,
  );
  const plain = (): Promise<number> => stage.agent('node-b').metric(counter, { direction: 'inbound' });
  const before = await plain();
  const batch = await stage.curl('batch', url);
  report.row('fail-open', `batch$ curl ${url}  →  ${report.expect(batch.ok, batch.text, batch.text)}`);
  const counted = (await plain()) - before;
  report.row(
    '',
    `in clear, and ${report.expect(counted === 1, "counted once at web's node", `counted ${counted} times`)}: ${counter}`,
  );

  const restarted = performance.now();
  await stage.startAgent('node-a');
  report.row(
    'a new agent',
    `is ready after ${milliseconds(performance.now() - restarted)}; no pod was touched`,
  );
  for (const name of ['front', 'batch'] as const) {
    const known = stage.accessLines('node-b').length;
    const { ok, text } = await stage.curl(name, url);
    const line = await eventually(() => stage.accessLines('node-b')[known], {
      what: `an access line of ${name}`,
    });
    const how = `security=${line['security']}`;
    report.row(
      `${name}$`,
      `curl  →  ${report.expect(ok && line['security'] === 'mutual_tls', `${text}, ${how}`, `${text}, ${how}`)}`,
    );
  }
}
