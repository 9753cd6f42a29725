/**
 * Objects of the mesh's own kinds, good ones and ones that are refused by the schemas (test/crds/kinds.ts); as an API server that
 * has the definitions of crds/ would refuse them too.
 */
import type { KindName } from '../../model/kinds/registry.ts';

export interface Case {
  readonly what: string;
  readonly kind: KindName;
  readonly name?: string;
  readonly spec?: unknown;
  /** Part of what an API server says of it; null for a good one. */
  readonly refusal: string | null;
}

function good(kind: KindName, what: string, spec: unknown): Case {
  return { what, kind, spec, refusal: null };
}

function bad(kind: KindName, what: string, spec: unknown, refusal: string): Case {
  return { what, kind, spec, refusal };
}

const policy = 'AuthorizationPolicy';
const peer = 'PeerAuthentication';
const request = 'RequestAuthentication';
const service = 'ServiceEntry';
const workload = 'WorkloadEntry';
const destination = 'DestinationRule';
const selector = { matchLabels: { app: 'web' } };
const ports = [{ number: 5432, name: 'tcp', protocol: 'TCP' }];

export const cases: readonly Case[] = [
  good(policy, 'an empty policy, which allows nothing', {}),
  good(policy, 'everything a node knows', {
    selector,
    action: 'DENY',
    rules: [
      {
        from: [{ source: { principals: ['cluster.local/ns/shop/sa/web'], notNamespaces: ['bank'] } }],
        to: [{ operation: { ports: ['80', '65535'], notPorts: ['81'] } }],
        when: [{ key: 'source.ip', values: ['10.0.0.0/8'] }],
      },
    ],
  }),
  good(policy, 'a policy of a waypoint', { targetRefs: [{ kind: 'Service', name: 'web' }] }),
  bad(
    policy,
    'selector beside targetRefs',
    { selector, targetRefs: [{ kind: 'Service', name: 'web' }] },
    'exclude',
  ),
  bad(policy, 'a DENY that denies nothing', { action: 'DENY' }, 'a DENY policy has rules'),
  bad(policy, 'a CUSTOM policy without provider', { action: 'CUSTOM', rules: [{}] }, 'names its provider'),
  bad(policy, 'an action that does not exist', { action: 'REFUSE' }, 'spec.action'),
  bad(policy, 'a port that is none', { rules: [{ to: [{ operation: { ports: ['http'] } }] }] }, 'ports'),
  bad(
    policy,
    'a port above all ports',
    { rules: [{ to: [{ operation: { ports: ['65536'] } }] }] },
    'operation.ports',
  ),
  bad(
    policy,
    'a condition that says nothing',
    { rules: [{ when: [{ key: 'source.ip' }] }] },
    'values or notValues',
  ),
  bad(
    policy,
    'a principal with its scheme',
    { rules: [{ from: [{ source: { principals: ['spiffe://cluster.local/ns/shop/sa/web'] } }] }] },
    'source.principals',
  ),
  bad(
    policy,
    'a service account with a wildcard',
    { rules: [{ from: [{ source: { serviceAccounts: ['shop/*'] } }] }] },
    'serviceAccounts',
  ),
  bad(
    policy,
    'an address that is none',
    { rules: [{ from: [{ source: { ipBlocks: ['10.0.0.300'] } }] }] },
    'source.ipBlocks',
  ),
  bad(policy, 'a number where text belongs', { rules: [{ to: [{ operation: { ports: [80] } }] }] }, 'string'),
  bad(policy, 'no spec', undefined, 'spec'),
  good(peer, 'strict for a namespace', { mtls: { mode: 'STRICT' } }),
  good(peer, 'a port apart', { selector, portLevelMtls: { '8080': { mode: 'PERMISSIVE' } } }),
  bad(peer, 'a mode that does not exist', { mtls: { mode: 'ALWAYS' } }, 'spec.mtls.mode'),
  bad(
    peer,
    'ports of no workload in particular',
    { portLevelMtls: { '80': { mode: 'STRICT' } } },
    'needs a selector',
  ),
  bad(
    peer,
    'a port that is none',
    { selector, portLevelMtls: { '65536': { mode: 'STRICT' } } },
    '1 to 65535',
  ),
  good(request, 'an issuer with its keys', {
    targetRefs: [{ kind: 'Service', name: 'web' }],
    jwtRules: [{ issuer: 'https://id.example', jwksUri: 'https://id.example/keys', timeout: '2s' }],
  }),
  bad(
    request,
    'two places for keys',
    { jwtRules: [{ issuer: 'i', jwks: '{}', jwksUri: 'https://k' }] },
    'jwks and jwksUri exclude each other',
  ),
  bad(request, 'keys in a file', { jwtRules: [{ issuer: 'i', jwksUri: 'file:///keys' }] }, 'jwksUri'),
  good(service, 'by selector', {
    hosts: ['ledger.example'],
    addresses: ['240.0.0.1'],
    ports,
    resolution: 'STATIC',
    workloadSelector: { labels: { app: 'ledger' } },
  }),
  good(service, 'endpoints in place', {
    hosts: ['*.ledger.example'],
    ports,
    resolution: 'DNS',
    endpoints: [{ address: 'db.example', ports: { tcp: 5433 }, weight: 2, locality: 'eu/a' }],
  }),
  bad(service, 'no host', { hosts: [], ports }, 'spec.hosts'),
  bad(service, 'a host that is none', { hosts: ['not a host'], ports }, 'spec.hosts'),
  bad(
    service,
    'a port twice',
    { hosts: ['a.example'], ports: [...ports, { number: 5432, name: 'b' }] },
    'once',
  ),
  bad(
    service,
    'a name twice',
    { hosts: ['a.example'], ports: [...ports, { number: 5, name: 'tcp' }] },
    'once',
  ),
  bad(
    service,
    'a port that is none',
    { hosts: ['a.example'], ports: [{ number: 70_000, name: 'a' }] },
    '65535',
  ),
  bad(
    service,
    'endpoints beside a selector',
    {
      hosts: ['a.example'],
      resolution: 'STATIC',
      endpoints: [{ address: '192.0.2.1' }],
      workloadSelector: {},
    },
    'exclude each other',
  ),
  bad(
    service,
    'endpoints nobody asks',
    { hosts: ['a.example'], resolution: 'NONE', endpoints: [{ address: '192.0.2.1' }] },
    'resolution NONE',
  ),
  bad(
    service,
    'an address that is none',
    { hosts: ['a.example'], addresses: ['a.example'] },
    'spec.addresses',
  ),
  good(workload, 'an address', { address: '192.0.2.1', labels: { app: 'ledger' } }),
  good(workload, 'a name', { address: 'db.example' }),
  bad(workload, 'nowhere', {}, 'has an address'),
  bad(workload, 'a port that is none', { address: '192.0.2.1', ports: { tcp: 0 } }, 'ports'),
  bad(workload, 'its own machine', { address: '127.0.0.1' }, "nobody's in particular"),
  good(destination, 'nothing but a host', { host: 'web' }),
  good(destination, 'everything that is done', {
    host: 'web.shop.svc.cluster.local',
    trafficPolicy: {
      loadBalancer: {
        simple: 'ROUND_ROBIN',
        localityLbSetting: { failover: [{ from: 'eu', to: 'us' }] },
        warmup: { duration: '1m30s' },
      },
      connectionPool: { tcp: { maxConnections: 100, connectTimeout: '250ms' }, http: { maxRetries: 3 } },
      outlierDetection: { consecutive5xxErrors: 3, maxEjectionPercent: 50 },
      retryBudget: { percent: 12.5 },
      portLevelSettings: [
        { port: { number: 80 }, loadBalancer: { consistentHash: { httpHeaderName: 'x-user' } } },
      ],
    },
    subsets: [{ name: 'v1', labels: { version: 'v1' } }],
    exportTo: ['.'],
  }),
  bad(
    destination,
    'two things that are hashed',
    {
      host: 'web',
      trafficPolicy: { loadBalancer: { consistentHash: { httpHeaderName: 'a', useSourceIp: true } } },
    },
    'what is hashed is one of',
  ),
  bad(
    destination,
    'a time that is none',
    { host: 'web', trafficPolicy: { connectionPool: { tcp: { connectTimeout: '5 minutes' } } } },
    'connectTimeout',
  ),
  bad(destination, 'a name of two subsets', { host: 'web', subsets: [{ name: 'a' }, { name: 'a' }] }, 'once'),
  bad(
    destination,
    'more than everything',
    { host: 'web', trafficPolicy: { outlierDetection: { maxEjectionPercent: 101 } } },
    'maxEjectionPercent',
  ),
  good('FaultInjection', 'a delay and an abort', {
    delay: { duration: '2s', percentage: 0.5 },
    abort: { grpcStatus: 'UNAVAILABLE' },
  }),
  bad('FaultInjection', 'nothing at all', {}, 'a fault has'),
  bad('FaultInjection', 'two statuses', { abort: { httpStatus: 500, grpcStatus: 'INTERNAL' } }, 'not both'),
  good('RateLimit', 'a count of its own', {
    targetRefs: [{ kind: 'Service', name: 'web' }],
    local: [{ requests: 10, per: '1s', by: [{ type: 'Header', name: 'x-user' }, { type: 'Identity' }] }],
  }),
  good('RateLimit', 'a count of all', {
    global: {
      service: { name: 'ratelimit', port: 8081 },
      domain: 'shop',
      descriptors: [{ entries: [{ key: 'user', type: 'Address' }] }],
    },
  }),
  bad('RateLimit', 'no limit', { local: [] }, 'a rate limit has'),
  bad(
    'RateLimit',
    'a header without name',
    { local: [{ requests: 1, per: '1s', by: [{ type: 'Header' }] }] },
    'needs a name',
  ),
  {
    what: 'the settings',
    kind: 'MeshConfig',
    name: 'default',
    spec: { certificateTtl: '12h' },
    refusal: null,
  },
  { what: 'no settings at all', kind: 'MeshConfig', name: 'default', refusal: null },
  {
    what: 'settings of another name',
    kind: 'MeshConfig',
    name: 'other',
    spec: {},
    refusal: 'the only MeshConfig is named default',
  },
  {
    what: 'a life that is too long',
    kind: 'MeshConfig',
    name: 'default',
    spec: { certificateTtl: '9999h' },
    refusal: 'from 1m to 2160h',
  },
  {
    what: 'a fail mode that does not exist',
    kind: 'MeshConfig',
    name: 'default',
    spec: { defaultFailMode: 'half' },
    refusal: 'spec.defaultFailMode',
  },
];

/** The object of a case, as one would write it. */
export function manifest({ kind, name = 'x', spec }: Case): Record<string, unknown> {
  const metadata = kind === 'MeshConfig' ? { name } : { name, namespace: 'shop' };
  return { apiVersion: 'culvert.dev/v1', kind, metadata, ...(spec === undefined ? {} : { spec }) };
}
