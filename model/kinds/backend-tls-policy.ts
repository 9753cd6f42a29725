/**
 * BackendTLSPolicy, gateway.networking.k8s.io: TLS to the endpoints of a Service, and which name they have to prove.
 *
 * The shape is loose on purpose. A policy that is refused would leave its Service without TLS, so whatever says which Service
 * it is about is kept, and control/build-backend-tls.ts refuses the requests instead, by name.
 */
import * as z from 'zod';
import { dnsSubdomain, metadata } from './metadata.ts';
import { struct } from './struct.ts';

const reference = {
  group: z.string().default(''),
  kind: z.string().min(1),
  name: z.string().min(1),
};

const subjectAltName = struct(
  { type: z.string(), hostname: z.string().optional(), uri: z.string().optional() },
  [],
);

/** Members that are not known are kept by name: they may narrow what is trusted. */
const validation = z
  .looseObject({
    caCertificateRefs: z.array(struct(reference, [])).default([]),
    wellKnownCACertificates: z.string().optional(),
    hostname: z.string(),
    subjectAltNames: z.array(subjectAltName).default([]),
  })
  .transform(({ caCertificateRefs, wellKnownCACertificates, hostname, subjectAltNames, ...others }) => ({
    caCertificateRefs,
    hostname,
    subjectAltNames,
    ...(wellKnownCACertificates === undefined ? {} : { wellKnownCACertificates }),
    unknown: Object.keys(others).sort(),
  }));

export const backendTlsPolicy = struct(
  {
    metadata: metadata(dnsSubdomain),
    spec: struct(
      {
        targetRefs: z.array(struct({ ...reference, sectionName: z.string().optional() }, [])).min(1),
        validation,
        options: z.record(z.string(), z.string()).default({}),
      },
      [],
    ),
  },
  ['apiVersion', 'kind', 'status'],
);

export type BackendTlsPolicy = z.output<typeof backendTlsPolicy>;
