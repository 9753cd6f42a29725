/**
 * Gateway, gateway.networking.k8s.io: of the class of waypoints it says that there is one. Others are left alone.
 */
import * as z from 'zod';
import { dnsSubdomain, metadata } from './metadata.ts';
import { struct } from './struct.ts';

const listener = struct(
  {
    name: z.string(),
    port: z.int().optional(),
    protocol: z.string().optional(),
    allowedRoutes: struct(
      {
        namespaces: struct(
          {
            from: z.enum(['Same', 'All', 'Selector', 'None']).default('Same'),
            selector: z.unknown().optional(),
          },
          [],
        ).optional(),
      },
      ['kinds'],
    ).optional(),
  },
  ['hostname', 'tls'],
);

export const gateway = struct(
  {
    metadata: metadata(dnsSubdomain),
    spec: struct({ gatewayClassName: z.string(), listeners: z.array(listener).default([]) }, [
      'addresses',
      'allowedListeners',
      'backendTLS',
      'defaultScope',
      'infrastructure',
      'tls',
    ]),
  },
  ['apiVersion', 'kind', 'status'],
);

export type Gateway = z.output<typeof gateway>;

/** Classes of Gateways that are waypoints. */
export const waypointClasses: readonly string[] = ['culvert-waypoint', 'istio-waypoint'];
