/**
 * A client of the tunnel protocol that goes where it wants, run in a namespace: a certificate of the mesh, the address of a
 * tunnel's end, who should be there, and the authority to ask for. Says the status of the answer.
 */
import { readFileSync } from 'node:fs';
import net from 'node:net';
import type { IssuedCertificate } from '../../tunnel/certificates.ts';
import { openTunnel } from '../../tunnel/client.ts';
import { clientContext } from '../../tunnel/tls.ts';
import { defaultWaypointLimits as limits } from '../../waypoint/config.ts';

const [, , path = '', address = '', identity = '', authority = ''] = process.argv;
const certificate = JSON.parse(readFileSync(path, 'utf8')) as IssuedCertificate;
const raw = net.connect({ host: address, port: 15_008 });
const target = {
  address,
  port: 15_008,
  sourceIdentity: certificate.identity,
  expectedIdentities: [identity],
};
const context = clientContext(certificate);
const { connection } = await openTunnel(raw, {
  certificate: { context, notAfter: certificate.notAfter },
  target,
  limits,
});
let said = false;
function say(what: string): void {
  if (!said) process.stdout.write(`${what}\n`, () => process.exit());
  said = true;
}

connection.connect(authority, [], {
  onHeaders: status => say(String(status)),
  onData: () => {},
  onEnd: () => {},
  onDrain: () => {},
  onReset: code => say(`reset ${code}`),
});
