import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import t from 'tap';
import { accessLine, AccessLog, type AccessRecord } from '../../agent/access-log.ts';

const record: AccessRecord = {
  time: Date.UTC(2026, 10, 21, 8, 5, 9, 7),
  direction: 'outbound',
  source: {
    address: '10.0.0.1:41234',
    workload: 'web-1',
    namespace: 'shop',
    identity: 'spiffe://cluster.local/ns/shop/sa/web',
  },
  destination: {
    address: '10.0.1.2:8080',
    hboneAddress: '10.0.1.2:15008',
    service: 'db.shop.svc.cluster.local',
    workload: 'db-0',
    namespace: 'shop',
    identity: 'spiffe://cluster.local/ns/shop/sa/db',
  },
  bytesSent: 12,
  bytesReceived: 345,
  durationMs: 12.3456,
  policy: 'shop/allow-web',
  rule: 0,
  reason: 'allowed by shop/allow-web rule 0',
  code: null,
  error: null,
  side: null,
  fix: null,
  security: 'mutual_tls',
  id: null,
  origin: null,
};

t.test('a connection that ended well', async t => {
  const line = accessLine(record);
  t.ok(line.endsWith('}\n'));
  t.strictSame(JSON.parse(line), {
    level: 'info',
    time: '2026-11-21T08:05:09.007Z',
    component: 'access',
    'src.addr': '10.0.0.1:41234',
    'src.workload': 'web-1',
    'src.namespace': 'shop',
    'src.identity': 'spiffe://cluster.local/ns/shop/sa/web',
    'dst.addr': '10.0.1.2:8080',
    'dst.hbone_addr': '10.0.1.2:15008',
    'dst.service': 'db.shop.svc.cluster.local',
    'dst.workload': 'db-0',
    'dst.namespace': 'shop',
    'dst.identity': 'spiffe://cluster.local/ns/shop/sa/db',
    direction: 'outbound',
    security: 'mutual_tls',
    bytes_sent: 12,
    bytes_recv: 345,
    duration: '12.346ms',
    policy: 'shop/allow-web',
    rule: 0,
    reason: 'allowed by shop/allow-web rule 0',
    msg: 'connection complete',
  });
});

t.test(
  'a connection that failed says whose fault it is and what to do; what is not known is left out',
  async t => {
    const nobody = { address: '192.0.2.1:1', workload: null, namespace: null, identity: null };
    const failed = JSON.parse(
      accessLine({
        ...record,
        source: nobody,
        destination: { ...nobody, hboneAddress: null, service: null },
        policy: null,
        rule: null,
        reason: null,
        code: 'DIAL_REFUSED',
        error: 'nothing listens there',
        side: 'server',
        fix: 'start it',
        id: 'abc',
      }),
    ) as Record<string, unknown>;
    t.match(failed, {
      level: 'error',
      msg: 'connection failed',
      error: 'nothing listens there',
      code: 'DIAL_REFUSED',
      side: 'server',
      fix: 'start it',
      id: 'abc',
    });
    for (const name of [
      'src.workload',
      'src.identity',
      'dst.service',
      'dst.hbone_addr',
      'policy',
      'rule',
      'reason',
    ])
      t.notOk(name in failed, name);
    t.match(JSON.parse(accessLine({ ...record, code: 'POLICY_DENIED' })), {
      level: 'warn',
      msg: 'connection failed',
    });
  },
);

t.test('time is right across seconds, and any text survives', async t => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4e12 }), fc.string({ unit: 'binary' }), (time, reason) => {
      const line = accessLine({ ...record, time, reason });
      const parsed = JSON.parse(line) as { time: string; reason: string };
      return (
        parsed.time === new Date(time).toISOString() &&
        parsed.reason === reason &&
        line.indexOf('\n') === line.length - 1
      );
    }),
  );
  t.pass('always one line of JSON');
});

t.test('lines reach the file; a full disk only costs lines', async t => {
  const path = join(t.testdir(), 'access.log');
  const log = new AccessLog(path, () => {});
  for (let count = 0; count < 1_000; count += 1) log.write(record);
  await log.close();
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  t.equal(lines.length, 1_000);
  t.match(JSON.parse(lines[999] ?? ''), { component: 'access' });
  const troubles: string[] = [];
  const full = new AccessLog('/dev/full', error => troubles.push(error.code ?? ''));
  full.write(record);
  await full.flush();
  full.write(record);
  await full.close();
  t.strictSame([full.lines, full.dropped, troubles], [2, 2, ['ENOSPC']]);
});

t.test('whom a waypoint says that it connects for', async t => {
  const origin = { address: '10.0.0.7:40000', identity: 'spiffe://cluster.local/ns/shop/sa/client' };
  const said = { 'src.original_addr': origin.address, 'src.original_identity': origin.identity };
  t.match(JSON.parse(accessLine({ ...record, origin })), said);
  const line = JSON.parse(accessLine({ ...record, origin: { ...origin, identity: null } })) as object;
  t.match(line, { 'src.original_addr': origin.address });
  t.notOk('src.original_identity' in line);
});
