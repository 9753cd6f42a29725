/**
 * ServiceEntry, culvert.dev/v1 and networking.istio.io: a service that no Kubernetes Service describes, inside or outside
 * the cluster: names, addresses clients use, and what answers there.
 */
import * as z from 'zod';
import { canonicalIp } from '../address.ts';
import { ipBlock } from './ip.ts';
import { dnsSubdomain, labelValue, metadata, qualifiedName } from './metadata.ts';
import { endpointSpec } from './workload-entry.ts';

const host = z
  .string()
  .max(253)
  .regex(
    /^(\*\.)?[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?)*$/,
    'a host is a DNS name, with *. in front at most',
  );

const port = z.strictObject({
  number: z.int().min(1).max(65_535).describe('Port that clients use.'),
  name: z.string().min(1).max(63).describe('Name of the port, unique in the ServiceEntry.'),
  protocol: z
    .enum(['HTTP', 'HTTPS', 'GRPC', 'GRPC-WEB', 'HTTP2', 'MONGO', 'MYSQL', 'REDIS', 'TCP', 'TLS', 'UDP'])
    .describe('What is spoken there. UDP is left alone.')
    .default('TCP'),
  targetPort: z.int().min(1).max(65_535).describe('Port of the endpoints; without it, number.').optional(),
});

const address = ipBlock.transform(text => canonicalIp(text) ?? text);

function areUnique(values: readonly (string | number)[]): boolean {
  return new Set(values).size === values.length;
}

export const serviceEntrySpec = z
  .strictObject({
    hosts: z.array(host).min(1).max(256).describe('Names of the service.'),
    addresses: z.array(address).max(256).describe('Virtual addresses that clients use.').optional(),
    ports: z
      .array(port)
      .max(64)
      .describe('Ports of the service.')
      .refine(ports => areUnique(ports.map(({ number }) => number)), 'each port number is there once')
      .refine(ports => areUnique(ports.map(({ name }) => name)), 'each port name is there once')
      .meta({
        'x-kubernetes-validations': [
          {
            rule: 'self.all(p, self.exists_one(q, q.number == p.number))',
            message: 'each port number is there once',
          },
          {
            rule: 'self.all(p, self.exists_one(q, q.name == p.name))',
            message: 'each port name is there once',
          },
        ],
      })
      .optional(),
    location: z
      .enum(['MESH_EXTERNAL', 'MESH_INTERNAL'])
      .describe('Whether it belongs to the mesh. What has no agent is reached in plaintext either way.')
      .default('MESH_EXTERNAL'),
    resolution: z
      .enum(['NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS'])
      .describe(
        'NONE: connections go to the address that was dialled. STATIC: to the endpoints. DNS: to what the names of the endpoints, or the host, resolve to.',
      )
      .default('NONE'),
    endpoints: z.array(endpointSpec).max(4096).describe('What answers, in place.').optional(),
    workloadSelector: z
      .strictObject({
        labels: z
          .record(qualifiedName, labelValue)
          .describe('Labels of the pods and WorkloadEntries of the namespace that answer, all of them.')
          .meta({ maxProperties: 256 })
          .optional(),
      })
      .describe('What answers, by label; instead of endpoints.')
      .optional(),
    exportTo: z
      .array(z.string().min(1).max(253))
      .max(256)
      .describe('Who sees it: `.` the namespace only, `*` (default) every one.')
      .optional(),
    subjectAltNames: z
      .array(z.string().min(1).max(2048))
      .max(256)
      .describe('Further identities its endpoints may prove.')
      .optional(),
  })
  .refine(spec => spec.workloadSelector === undefined || spec.endpoints === undefined, {
    message: 'endpoints and workloadSelector exclude each other',
    path: ['workloadSelector'],
  })
  .refine(spec => spec.resolution !== 'NONE' || (spec.endpoints ?? []).length === 0, {
    message: 'with resolution NONE connections go where they were dialled: endpoints are not possible',
    path: ['endpoints'],
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: '!has(self.workloadSelector) || !has(self.endpoints)',
        message: 'endpoints and workloadSelector exclude each other',
      },
      {
        rule: "self.resolution != 'NONE' || !has(self.endpoints) || self.endpoints.size() == 0",
        message: 'with resolution NONE connections go where they were dialled: endpoints are not possible',
      },
    ],
  });

/** What the control plane writes: an address for a host that has none. */
export interface AllocatedAddress {
  readonly host: string;
  readonly value: string;
}

/** Of a status only these are read; what does not look like one is none. */
const allocated = z.array(z.unknown()).transform(all =>
  all.flatMap((item): AllocatedAddress[] => {
    const { host, value } = (item ?? {}) as Partial<Record<string, unknown>>;
    return typeof host === 'string' && typeof value === 'string' ? [{ host, value }] : [];
  }),
);
const status = z.looseObject({ addresses: allocated.catch([]) }).catch({ addresses: [] });

export const serviceEntry = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadata(dnsSubdomain),
  spec: serviceEntrySpec,
  status: z
    .unknown()
    .transform(value => ({ addresses: status.parse(value).addresses }))
    .prefault({}),
});

export type ServiceEntry = z.output<typeof serviceEntry>;
