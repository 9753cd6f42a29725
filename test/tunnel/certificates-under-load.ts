/** Real handshakes over loopback, both ways between two agents, while certificates and roots change under them. */
import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { activateRoot, addRoot, listRoots, retireRoot } from '../../cli/authority.ts';
import { Authority, newBundle } from '../../tunnel/authority.ts';
import { Certificates } from '../../tunnel/certificates.ts';
import type { IssuedCertificate } from '../../tunnel/certificates.ts';
import { acceptTls, clientContext, connectTls, serverContext } from '../../tunnel/tls.ts';
import type { ClientContext, ServerContext } from '../../tunnel/tls.ts';
import { eventually } from '../lab/eventually.ts';
import { listen } from './tls-pair.ts';
import type { Listener } from './tls-pair.ts';

/** As much of an agent as has to do with certificates, with one pod. */
class Agent {
  readonly identity: string;
  readonly authority: Authority;
  readonly certificates: Certificates;
  readonly serials: string[] = [];
  server: ServerContext | null = null;
  client: ClientContext | null = null;
  listener: Listener | null = null;

  constructor(name: string, authority: Authority) {
    this.identity = `spiffe://cluster.local/ns/shop/sa/${name}`;
    this.authority = authority;
    this.certificates = new Certificates({
      source: authority,
      onCertificate: (_identity, certificate) => this.#use(certificate),
    });
  }

  static async start(t: Test, name: string, authority: Authority): Promise<Agent> {
    const agent = new Agent(name, authority);
    agent.authority.watch();
    agent.certificates.hold(agent.identity);
    t.teardown(() => {
      agent.certificates.close();
      agent.authority.close();
    });
    await eventually(() => agent.server !== null);
    agent.listener = await listen(t, raw => {
      const { server } = agent;
      if (server === null) {
        raw.destroy();
        return;
      }
      acceptTls(raw, server, { trustDomain: 'cluster.local', timeoutMs: 10_000 }).then(
        ({ socket }) => socket.pipe(socket),
        (error: Error) => refusals.push(error.message),
      );
    });
    return agent;
  }

  /** One connection: handshake, a byte there and back, which only a server that accepted us sends. */
  async visit(other: Agent): Promise<void> {
    if (this.client === null || other.listener === null) throw new Error('not started');
    const { socket } = await connectTls(await other.listener.connect(), this.client, {
      expectedIdentities: [other.identity],
      timeoutMs: 10_000,
    });
    const answer = Promise.race([
      once(socket, 'data'),
      once(socket, 'close').then(() => Promise.reject(new Error('cut off'))),
    ]);
    socket.write('x');
    await answer;
    socket.destroy();
  }

  #use(certificate: IssuedCertificate): void {
    this.server = serverContext(certificate);
    this.client = clientContext(certificate);
    if (this.serials.at(-1) !== certificate.serial) this.serials.push(certificate.serial);
  }

  /** Roots with their states, the signing one first. */
  get roots(): string {
    return this.authority
      .status()
      .roots.map(root => `${root.fingerprint.slice(0, 6)} ${root.state}`)
      .join();
  }
}

const refusals: string[] = [];

/** Connections in both directions until told to stop; returns how many, and what failed. */
function load(one: Agent, two: Agent): { stop: () => Promise<{ count: number; failures: string[] }> } {
  const stop = new AbortController();
  let count = 0;
  refusals.length = 0;
  const failures: string[] = [];
  const worker = async (from: Agent, to: Agent): Promise<void> => {
    while (!stop.signal.aborted) {
      await from.visit(to).catch((error: Error) => failures.push(error.message));
      count += 1;
    }
  };
  const workers = Promise.all([worker(one, two), worker(one, two), worker(two, one), worker(two, one)]);
  return {
    stop: async () => {
      stop.abort();
      await workers;
      return { count, failures: [...failures, ...refusals] };
    },
  };
}

t.test('certificates of four seconds are renewed under load without one failed connection', async t => {
  const path = join(t.testdir(), 'authority.pem');
  const start = (name: string) => Agent.start(t, name, Authority.open({ path, leafTtlMs: 4_000 }));
  const [one, two] = [await start('one'), await start('two')];
  const first = one.certificates.current(one.identity);
  const old = await connectTls(await listenerOf(two).connect(), clientOf(one), {
    expectedIdentities: [two.identity],
    timeoutMs: 10_000,
  });
  const running = load(one, two);
  await eventually(() => one.serials.length >= 4 && two.serials.length >= 4, {
    timeoutMs: 60_000,
    intervalMs: 100,
  });
  const { count, failures } = await running.stop();
  t.strictSame(failures, []);
  t.ok(count > 50, `${count} connections`);
  t.ok((first?.notAfter ?? Infinity) < Date.now(), 'the first certificate has ended meanwhile');
  old.socket.write('x');
  t.equal(String((await once(old.socket, 'data'))[0]), 'x', 'what was open stays open');
});

t.test('a rotation cuts nobody off: add, activate, retire', async t => {
  const path = join(t.testdir(), 'authority.pem');
  const start = (name: string) => Agent.start(t, name, Authority.open({ path, overlapMs: 500, pollMs: 200 }));
  const [one, two] = [await start('one'), await start('two')];
  const both = (roots: string) =>
    eventually(() => one.roots === roots && two.roots === roots, { what: roots });
  const former = one.certificates.current(one.identity);
  if (former === null) throw new Error('no certificate');
  const before = one.authority.status().roots[0]?.fingerprint.slice(0, 6);
  const running = load(one, two);
  const after = addRoot(path, Date.now()).fingerprint.slice(0, 6);
  await both(`${before} signing,${after} trusted`);
  activateRoot(path, null);
  await both(`${after} signing,${before} trusted`);
  retireRoot(path, before ?? '', { now: Date.now(), force: true });
  await both(`${after} signing`);
  const seen = one.serials.length + two.serials.length;
  const { count, failures } = await running.stop();
  t.strictSame(failures, []);
  t.ok(count > 50, `${count} connections`);
  t.ok(seen >= 4, 'both have certificates of the new root');
  // Trusting the new root doesn't help who still shows a certificate of the old one.
  one.client = clientContext({ ...former, rootsPem: two.authority.roots() });
  await t.rejects(one.visit(two));
  await eventually(() => refusals.length > 0);
  t.match(refusals, [/certificate of the client is not trusted/]);
});

t.test('nor do three steps without a pause, or a new file in place of the old', async t => {
  const path = join(t.testdir(), 'authority.pem');
  const start = (name: string) => Agent.start(t, name, Authority.open({ path, overlapMs: 700, pollMs: 200 }));
  const [one, two] = [await start('one'), await start('two')];
  const settled = (fingerprint: string) =>
    eventually(() => [one, two].every(agent => agent.roots === `${fingerprint} signing`), {
      what: fingerprint,
    });
  const running = load(one, two);
  const { fingerprint } = addRoot(path, Date.now());
  activateRoot(path, null);
  retireRoot(path, null, { now: Date.now(), force: true });
  await settled(fingerprint.slice(0, 6));
  writeFileSync(`${path}.new`, newBundle(Date.now()), { mode: 0o600 });
  renameSync(`${path}.new`, path);
  const [root] = listRoots(path);
  await settled(root?.fingerprint.slice(0, 6) ?? '');
  const { count, failures } = await running.stop();
  t.strictSame(failures, []);
  t.ok(count > 50, `${count} connections`);
});

function clientOf(agent: Agent): ClientContext {
  if (agent.client === null) throw new Error('no certificate');
  return agent.client;
}

function listenerOf(agent: Agent): Listener {
  if (agent.listener === null) throw new Error('not listening');
  return agent.listener;
}
