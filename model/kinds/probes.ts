/**
 * The ports on which a kubelet asks the containers of a pod how they are. Its probes carry no identity, so whoever
 * refuses plaintext has to know them.
 */
import type { Pod } from './pod.ts';

/** Ascending, each once. A named port is one of the same container, as in Kubernetes; a name nobody has is no port. */
export function probePorts({ spec }: Pod): number[] {
  const found = new Set<number>();
  // Init containers have probes only if they stay; the API server refuses them elsewhere.
  for (const { ports, livenessProbe, readinessProbe, startupProbe } of [
    ...spec.containers,
    ...spec.initContainers,
  ]) {
    for (const probe of [livenessProbe, readinessProbe, startupProbe]) {
      const asked = probe?.httpGet?.port ?? probe?.tcpSocket?.port ?? probe?.grpc?.port;
      if (asked === undefined) continue;
      const port =
        typeof asked === 'number' ? asked : ports.find(({ name }) => name === asked)?.containerPort;
      const number = port ?? Number(asked);
      if (Number.isInteger(number) && number >= 1 && number <= 65_535) found.add(number);
    }
  }
  return [...found].toSorted((a, b) => a - b);
}
