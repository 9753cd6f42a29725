/** A client of discovery and a control plane that says what a test wants, with resources for both. */
import { join } from 'node:path';
import { pino } from 'pino';
import type { Test } from 'tap';
import { XdsClient } from '../../xds/client.ts';
import type { XdsClientOptions } from '../../xds/client.ts';
import { encodeService, encodeWorkload, resourceTypes } from '../../xds/codec.ts';
import { discoveryNode } from '../../xds/node.ts';
import type { XdsUpdate } from '../../xds/reading.ts';
import type { XdsState } from '../../xds/state.ts';
import { eventually } from '../lab/eventually.ts';
import { service, workload } from '../model/objects.ts';
import { FakeControl, Mailbox } from './fake-control.ts';

export const { address, authorization, settings, nodePod } = resourceTypes;

export const node = discoveryNode({
  nodeName: 'n1',
  podName: 'culvert-agent-x',
  podNamespace: 'culvert-system',
  serviceAccount: 'culvert-agent',
  podIp: '10.0.0.9',
  clusterId: 'Kubernetes',
  version: '1.2.3',
});

/** A resource of a response. */
export function resource(
  type: string,
  name: string,
  value: Buffer,
  version = '1',
  aliases: readonly string[] = [],
) {
  return { name, version, aliases, resource: { typeUrl: type, value } };
}

export const web = workload('web', { addresses: ['10.0.0.1'] });
export const cart = workload('cart', { addresses: ['10.0.0.2'] });
export const webResource = resource(address, web.uid, encodeWorkload(web));
export const cartResource = resource(address, cart.uid, encodeWorkload(cart));
export const shop = service('web');
export const shopResource = resource(address, 'shop/web.shop.svc.cluster.local', encodeService(shop));

export interface Setup {
  readonly control: FakeControl;
  readonly client: XdsClient;
  readonly updates: Mailbox<XdsUpdate>;
  readonly states: XdsState[];
  readonly rootPath: string;
  readonly tokenPath: string;
}

export async function setup(
  t: Test,
  given: Partial<XdsClientOptions> & { readonly start?: boolean; readonly control?: FakeControl } = {},
): Promise<Setup> {
  const control = given.control ?? (await FakeControl.start());
  const directory = t.testdir({ 'root.pem': control.root.pem, token: 'first\n' });
  const rootPath = join(directory, 'root.pem');
  const tokenPath = join(directory, 'token');
  const updates = new Mailbox<XdsUpdate>();
  const states: XdsState[] = [];
  const client = new XdsClient({
    endpoint: control.endpoint({ rootPath, tokenPath, headers: { clusterid: 'Kubernetes' } }),
    node,
    subscriptions: ['address', 'authorization'],
    log: pino({ level: 'silent' }),
    onUpdate: update => updates.put(update),
    onState: state => states.push(state),
    ...given,
  });
  t.teardown(() => {
    client.close();
    control.stop();
  });
  if (given.start ?? true) client.start();
  return { control, client, updates, states, rootPath, tokenPath };
}

/** The reason a client is not connected, once it has one. */
export function lastError(client: XdsClient, code: string) {
  return eventually(() => {
    const { lastError } = client.state();
    return lastError?.code === code && lastError;
  });
}

export const connected = (client: XdsClient) => eventually(() => client.state().connected);
