/**
 * Deadlines in milliseconds and caps of whoever opens or accepts tunnels, agents and waypoints alike, with what each is
 * unless said otherwise: a peer that one of them finds too slow must not be good enough for the other.
 */
export const tunnelDefaults = {
  /** TCP connect to an application or to another agent. */
  dialMs: 10_000,
  /** TLS handshake, either side. */
  tlsHandshakeMs: 10_000,
  /** HTTP/2 preface and SETTINGS of a peer that finished its handshake. */
  prefaceMs: 5_000,
  /** From CONNECT to its answer; longer than `dialMs`, since the peer dials the application in between. */
  connectMs: 15_000,
  /** How long a connection waits for its workload's certificate. */
  certificateWaitMs: 5_000,
  /** A tunnel without streams is closed after this. */
  tunnelIdleMs: 300_000,
  /** A tunnel gets no new streams after this, or sooner when the certificate ends. */
  tunnelMaxAgeMs: 3_600_000,
  /** Between two pings of a tunnel. */
  pingIntervalMs: 10_000,
  /** A peer that answers none for this long is gone. */
  pingTimeoutMs: 20_000,
  /** Streams on one tunnel before a second one is opened. */
  streamsPerTunnel: 100,
  /** Tunnels that arrive from one source address at one pod. */
  tunnelsPerSource: 512,
  /** The same of handshakes under way. */
  handshakesPerSource: 64,
  /** An endpoint whose dial failed is passed over for this long, doubled at each failure up to 16 times. */
  endpointPenaltyMs: 1_000,
  /** SIGTERM to forced close. */
  drainMs: 25_000,
};
