/**
 * The same request before and after its two ends join the mesh, with somebody listening on the wire both times.
 */
import { eventually } from '../eventually.ts';
import { namespaces, nodeNames } from './cast.ts';
import { counted, milliseconds, type Report } from './report.ts';
import type { Stage } from './stage.ts';
import { listen, reportClear, reportProtected } from './wire.ts';

export async function beforeTheMesh(stage: Stage, report: Report): Promise<void> {
  report.section('Without the mesh: front asks nginx in web, on the other node');
  await using wire = await listen(stage);
  await request(stage, report);
  reportClear(report, await wire.stop(), stage.secrets.page);
}

export async function joinTheMesh(stage: Stage, report: Report): Promise<void> {
  report.section(
    'Enrolment: namespace shop gets the label culvert.dev/dataplane-mode: ambient; then the same request',
  );
  await using wire = await listen(stage);
  const written = performance.now();
  stage.write('namespaces.yaml', namespaces(true));
  const pods = await eventually(() => enrolledPods(stage), {
    intervalMs: 5,
    what: 'the enrolment of all pods of the shop',
  });
  const took = milliseconds(performance.now() - written);
  const { running, pid } = stage.nginx;
  const same = report.expect(running, `nginx is still process ${pid}`, 'nginx has ended');
  report.row(
    'enrolled',
    `${counted(pods, 'pod')}, ${took} after the file was written; nothing was restarted, ${same}`,
  );
  await request(stage, report);
  reportProtected(report, await wire.stop(), [stage.secrets.page]);
}

async function request(stage: Stage, report: Report): Promise<void> {
  const url = `http://${stage.pod('web').address}/`;
  const { ok, text } = await stage.curl('front', url);
  report.row('front$', `curl ${url}  →  ${report.expect(ok, text, text)}`);
}

/** How many pods the agents have enrolled, or null until that is all they should. */
async function enrolledPods(stage: Stage): Promise<number | null> {
  const states = await Promise.all(nodeNames.map(node => stage.status(node)));
  const enrolled = states.flatMap(state => state.pods).filter(pod => pod.enrolled);
  const wanted = stage.lab.allPods.filter(pod => pod.namespace === 'shop').length;
  return enrolled.length === wanted ? wanted : null;
}
