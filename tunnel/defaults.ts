/**
 * Deadlines in milliseconds and caps of whoever opens or accepts tunnels, agents and waypoints alike: a peer that one of
 * them finds too slow must not be good enough for the other.
 */
export const tunnelDefaults = {
  dialMs: 10_000,
  tlsHandshakeMs: 10_000,
  prefaceMs: 5_000,
  connectMs: 15_000,
  certificateWaitMs: 5_000,
  tunnelIdleMs: 300_000,
  tunnelMaxAgeMs: 3_600_000,
  pingIntervalMs: 10_000,
  pingTimeoutMs: 20_000,
  streamsPerTunnel: 100,
  tunnelsPerSource: 512,
  handshakesPerSource: 64,
  endpointPenaltyMs: 1_000,
  drainMs: 25_000,
} as const;
