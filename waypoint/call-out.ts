/**
 * Requests of the waypoint's own, to whoever configuration names by a host: by a tunnel where that is in the mesh, like the
 * requests of clients, and plainly where it is not.
 *
 * What is outside must not be this machine or its neighbourhood: who may write a policy shall not read through us what only
 * this pod can reach (administration on loopback, metadata services of clouds).
 */
import { lookup } from 'node:dns/promises';
import http from 'node:http';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { canonicalIp, cidrContains, parseCidr } from '../model/address.ts';
import type { Service } from '../model/service.ts';
import { ourselves, pickWay, type Way } from './balance.ts';
import type { WaypointContext } from './context.ts';
import { dial } from './tunnel-out.ts';

const forbidden = [
  '127.0.0.0/8',
  '169.254.0.0/16',
  '0.0.0.0/8',
  '::1/128',
  '::/128',
  'fe80::/10',
  'fd00:ec2::254/128',
]
  .map(parseCidr)
  .filter(cidr => cidr !== null);

/** A service by a host: of Kubernetes by as much of its name as says which it is, of a ServiceEntry by its own. */
function serviceNamed({ mesh, names, self }: WaypointContext, host: string): Service | null {
  const [, name, namespace] = /^([^.]+)\.([^.]+)(?:\.svc(?:\..+)?)?$/.exec(host) ?? [];
  const key = `${namespace}/${name}.${namespace}.svc.${names.clusterDomain}`;
  const found = name === undefined ? null : mesh.service(key);
  const isMeant = found !== null && (host === found.hostname || found.hostname.startsWith(`${host}.`));
  return isMeant ? found : mesh.serviceByHost(host, self?.namespace ?? '');
}

/** The way of a request of our own to a service. Throws as `pickWay` does. */
export function wayTo(context: WaypointContext, service: Service, port: number): Way {
  const address = service.addresses[0]?.address ?? '';
  return pickWay(context, { kind: 'service', service, port, address, subset: null }, ourselves).way;
}

/** The body of a 200 for a GET. Redirects are not followed. Rejects with FETCH_FAILED, which says why. */
export async function fetchText(
  context: WaypointContext,
  url: string,
  { timeoutMs, maxBytes }: { timeoutMs: number; maxBytes: number },
): Promise<string> {
  const parsed = URL.parse(url);
  if (parsed === null || !['http:', 'https:'].includes(parsed.protocol))
    throw failure(`${url} is no URL of HTTP`);
  const deadline = AbortSignal.timeout(timeoutMs);
  try {
    const socket = await within(open(context, parsed, timeoutMs, deadline), deadline);
    try {
      return await get(socket, parsed, deadline, maxBytes);
    } finally {
      socket.destroy();
    }
  } catch (thrown) {
    if (deadline.aborted) throw failure(`${url}: no answer within ${timeoutMs} ms`);
    const { code, message } = asCulvertError(thrown, 'FETCH_FAILED');
    throw code === 'FETCH_FAILED' ? asCulvertError(thrown, code) : failure(`${url}: ${message}`);
  }
}

function failure(message: string): CulvertError {
  return new CulvertError('FETCH_FAILED', message, { side: 'server' });
}

async function open(
  context: WaypointContext,
  url: URL,
  timeoutMs: number,
  deadline: AbortSignal,
): Promise<Duplex> {
  const isSecure = url.protocol === 'https:';
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = Number(url.port || (isSecure ? 443 : 80));
  const service = serviceNamed(context, host);
  const raw =
    service === null
      ? await context.dialTcp(await outsideAddress(host), port, timeoutMs)
      : await dial(context, null, wayTo(context, service, port));
  if (!isSecure) return raw;
  const servername = canonicalIp(host) === null ? host : '';
  const secure = tls.connect({ socket: raw, servername, host, ALPNProtocols: ['http/1.1'] });
  return new Promise((resolve, reject) => {
    // A server that accepts and says nothing more holds nothing of ours.
    deadline.addEventListener('abort', () => raw.destroy(), { once: true });
    secure.once('secureConnect', () => resolve(secure));
    secure.once('error', error => {
      raw.destroy();
      reject(error);
    });
  });
}

async function outsideAddress(host: string): Promise<string> {
  const address = canonicalIp(host) ?? (await lookup(host)).address;
  if (forbidden.some(cidr => cidrContains(cidr, address)))
    throw failure(`${host} is ${address}, which is of this machine or network and not asked`);
  return address;
}

/** What comes too late is closed. */
function within(opening: Promise<Duplex>, deadline: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const late = (): void => reject(new Error('too late'));
    deadline.addEventListener('abort', late, { once: true });
    const opened = (socket: Duplex): void => {
      socket.on('error', () => {});
      if (deadline.aborted) socket.destroy();
      else resolve(socket);
    };
    opening.then(opened, reject);
  });
}

function get(socket: Duplex, url: URL, signal: AbortSignal, maxBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get({
      path: url.pathname + url.search,
      headers: { host: url.host, accept: 'application/json', connection: 'close' },
      createConnection: () => socket,
      signal,
    });
    request.once('error', reject);
    request.once('response', response => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      if (response.statusCode !== 200) {
        reject(new Error(`answered with ${response.statusCode}`));
        return;
      }
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > maxBytes) reject(new Error(`more than ${maxBytes} bytes`));
        else chunks.push(chunk);
      });
      response.once('error', reject);
      response.once('end', () =>
        response.complete ? resolve(Buffer.concat(chunks).toString()) : reject(new Error('broken off')),
      );
    });
  });
}
