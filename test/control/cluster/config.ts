/** A control plane in the process of a test or benchmark: what all of them have alike. */
import { type ControlConfig, defaultAudiences } from '../../../control/control-config.ts';

export const testNamespace = 'culvert-system';

/** On loopback, on any port, and quick. */
export function testControlConfig(more: Partial<ControlConfig> = {}): ControlConfig {
  return {
    kubeconfig: null,
    namespace: testNamespace,
    identity: 'test',
    address: '127.0.0.1',
    port: 0,
    metricsPort: 0,
    readyPort: 0,
    adminPort: 0,
    agents: [`${testNamespace}/culvert-agent`],
    audiences: defaultAudiences,
    dnsNames: ['localhost'],
    logLevel: 'silent',
    waypoints: null,
    limits: { noticeMs: 20, drainMs: 500, newPodMs: 10_000 },
    ...more,
  };
}
