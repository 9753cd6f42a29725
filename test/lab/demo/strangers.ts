/**
 * A machine on the nodes' network that belongs to no mesh knocks at the tunnel port of a pod: without a certificate, and
 * with one that says what front's says but was signed by another authority.
 */
import { join } from 'node:path';
import { eventually } from '../eventually.ts';
import type { Report } from './report.ts';
import type { Stage } from './stage.ts';
import { tunnelPort } from './wire.ts';

const counter = 'culvert_tunnel_handshake_failures_total';
/** How every HTTP/2 connection begins (RFC 9113 §3.4): a server that took us seriously would answer. */
const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const stolenName = 'spiffe://cluster.local/ns/shop/sa/front';

export async function strangers(stage: Stage, report: Report): Promise<void> {
  report.section(
    `A stranger, ${stage.lab.outside.address}, knocks at port ${tunnelPort} of web (openssl s_client)`,
  );
  await knock(stage, report, 'no certificate', []);
  await knock(stage, report, 'a forged one', await forge(stage));
  report.row('', `the forged certificate says ${stolenName}; each attempt is one count of ${counter}`);
}

/** @param certificate flags for openssl */
async function knock(
  stage: Stage,
  report: Report,
  who: string,
  certificate: readonly string[],
): Promise<void> {
  const agent = stage.agent('node-b');
  const failures = (): Promise<number> => agent.metric(counter, { direction: 'inbound' });
  const [linesBefore, failuresBefore] = [refusals(stage).length, await failures()];
  const newLines = (): LogLine[] | null => {
    const lines = refusals(stage).slice(linesBefore);
    return lines.length > 0 ? lines : null;
  };
  const target = `${stage.pod('web').address}:${tunnelPort}`;
  const args = ['s_client', '-connect', target, '-alpn', 'h2', '-quiet', ...certificate];
  // With -quiet it stays until the other side ends it.
  const { code, stdout, stderr } = await stage.lab.outside.run('openssl', args, {
    check: false,
    input: preface,
    timeoutMs: 10_000,
  });
  const lines = await eventually(newLines, { what: 'a log line about the stranger' });
  const [line] = lines;
  const counted = (await failures()) - failuresBefore;
  const alert = /alert ([a-z ]+):/.exec(stderr)?.[1];
  const closed = alert === undefined ? 'the connection closed' : `TLS alert "${alert}"`;
  const ended = report.expect(code !== null, closed, 'nothing, but may stay');
  const nothing = report.expect(stdout === '', 'no data', `data: ${stdout}`);
  const once = report.expect(
    lines.length === 1 && counted === 1,
    'one log line',
    `${lines.length} log lines, ${counted} counts`,
  );
  report.row(who, `gets ${ended}, ${nothing}; ${once}: code=${line?.code} err="${line?.err}"`);
}

interface LogLine {
  readonly code: string;
  readonly err: string;
}

/** Lines of the agent's log about tunnels that it refused. */
function refusals(stage: Stage): LogLine[] {
  return stage
    .agent('node-b')
    .process.stdout()
    .split('\n')
    .filter(line => line.includes('"msg":"tunnel refused"'))
    .map(line => JSON.parse(line) as LogLine);
}

/** Makes a certificate that nobody here has reason to trust, and returns the flags to show it. */
async function forge(stage: Stage): Promise<string[]> {
  const key = join(stage.lab.directory, 'forged-key.pem');
  const certificate = join(stage.lab.directory, 'forged.pem');
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key];
  const claim = ['-subj', '/CN=front', '-addext', `subjectAltName=critical,URI:${stolenName}`];
  await stage.lab.outside.run('openssl', [
    'req',
    '-x509',
    ...curve,
    ...claim,
    '-days',
    '1',
    '-out',
    certificate,
  ]);
  return ['-cert', certificate, '-key', key];
}
