/**
 * GatewayClass, gateway.networking.k8s.io: who makes what Gateways of this class ask for. Only the name of its controller
 * is read.
 */
import * as z from 'zod';
import { dnsSubdomain, metadata } from './metadata.ts';
import { struct } from './struct.ts';

export const gatewayClass = struct(
  {
    metadata: metadata(dnsSubdomain),
    spec: struct({ controllerName: z.string() }, ['description', 'parametersRef']),
  },
  ['apiVersion', 'kind', 'status'],
);

export type GatewayClass = z.output<typeof gatewayClass>;
