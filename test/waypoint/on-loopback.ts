/** What a waypoint in the process of a test has that is the same in all of them: it is on loopback, and so is all that it reaches. */
import type { Socket } from 'node:net';
import { defaultWaypointLimits, type WaypointLimits } from '../../waypoint/config.ts';
import { dialTcp } from '../../waypoint/tunnel-out.ts';

/** Its own ports, any that are free; WP_LOG shows what it says. */
export const onLoopback = {
  address: '127.0.0.1',
  hbonePort: 0,
  adminPort: 0,
  metricsAddress: '127.0.0.1',
  metricsPort: 0,
  readyAddress: '127.0.0.1',
  readyPort: 0,
  logLevel: process.env['WP_LOG'] ?? 'silent',
} as const;

/** Every pod is on this machine, at the port that is its own. */
export function dialHere(_address: string, port: number, timeoutMs: number): Promise<Socket> {
  return dialTcp('127.0.0.1', port, timeoutMs);
}

/** On a machine that has much to do, a client of a test may be silent for longer than a server that speaks first is kept waiting. */
export function patient(limits: Partial<WaypointLimits>): WaypointLimits {
  return { ...defaultWaypointLimits, detectMs: 5_000, ...limits };
}
