/**
 * Service, v1: the names and virtual addresses clients use, and how the pods behind them are chosen.
 */
import * as z from 'zod';
import { ip } from './ip.ts';
import { dnsLabel, labels, metadata } from './metadata.ts';
import { intOrString, portNumber, struct } from './struct.ts';

/** A port name as pods and Services give it (IANA service name): `http`, `grpc-api`. */
const portName = z
  .string()
  .regex(
    /^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/,
    'a port name has at most 15 lower-case letters, digits and -, at least one of them a letter; a number is written without quotes',
  );

const servicePort = struct(
  {
    name: dnsLabel.optional(),
    port: portNumber,
    targetPort: intOrString.pipe(z.union([portNumber, portName])).optional(),
    protocol: z.enum(['TCP', 'UDP', 'SCTP']).default('TCP'),
    appProtocol: z.string().optional(),
  },
  ['nodePort'],
);

const clusterIp = z.union([z.literal('None'), z.literal(''), ip]);

const serviceSpec = struct(
  {
    type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']).default('ClusterIP'),
    clusterIP: clusterIp.optional(),
    clusterIPs: z.array(clusterIp).default([]),
    ipFamilies: z.array(z.enum(['IPv4', 'IPv6'])).default([]),
    selector: labels.default({}),
    ports: z.array(servicePort).default([]),
    publishNotReadyAddresses: z.boolean().default(false),
    internalTrafficPolicy: z.enum(['Cluster', 'Local']).default('Cluster'),
    trafficDistribution: z.string().optional(),
    externalIPs: z.array(ip).default([]),
    sessionAffinity: z.enum(['None', 'ClientIP']).default('None'),
    sessionAffinityConfig: struct(
      { clientIP: struct({ timeoutSeconds: z.int().min(1).max(86_400).optional() }, []).optional() },
      [],
    ).optional(),
  },
  [
    'allocateLoadBalancerNodePorts',
    'externalName',
    'externalTrafficPolicy',
    'healthCheckNodePort',
    'ipFamilyPolicy',
    'loadBalancerClass',
    'loadBalancerIP',
    'loadBalancerSourceRanges',
  ],
);

const serviceStatus = struct(
  {
    loadBalancer: struct(
      { ingress: z.array(struct({ ip: ip.optional() }, ['hostname', 'ipMode', 'ports'])).default([]) },
      [],
    ).default({ ingress: [] }),
  },
  ['conditions'],
);

export const service = struct(
  {
    metadata: metadata(dnsLabel),
    spec: serviceSpec,
    status: serviceStatus.default({ loadBalancer: { ingress: [] } }),
  },
  ['apiVersion', 'kind'],
);

export type Service = z.output<typeof service>;
