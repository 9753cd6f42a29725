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

/** What a controller makes for a Gateway shall carry, and an object with options for it. */
const infrastructure = struct(
  {
    labels: z.record(z.string(), z.string()).default({}),
    annotations: z.record(z.string(), z.string()).default({}),
    parametersRef: struct({ group: z.string(), kind: z.string(), name: z.string() }, []).optional(),
  },
  [],
);

export const gateway = struct(
  {
    metadata: metadata(dnsSubdomain),
    spec: struct(
      {
        gatewayClassName: z.string(),
        listeners: z.array(listener).default([]),
        infrastructure: infrastructure.optional(),
      },
      ['addresses', 'allowedListeners', 'backendTLS', 'defaultScope', 'tls'],
    ),
  },
  ['apiVersion', 'kind', 'status'],
);

export type Gateway = z.output<typeof gateway>;

/** Classes of Gateways that are waypoints. */
export const waypointClasses: readonly string[] = ['culvert-waypoint', 'istio-waypoint'];

/** The group of Gateway API. */
export const gatewayGroup = 'gateway.networking.k8s.io';

/** By which GatewayClasses and the status of routes name us: `spec.controllerName`. */
export const gatewayController = 'culvert.dev/waypoint';
