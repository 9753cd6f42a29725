/**
 * A stage for tests of the mesh in a cluster: three pods of one namespace, and a stranger who is not in the mesh.
 *
 *   client (node-a)   near (node-a)   far (node-b)      in a namespace that a test may enrol
 *   stranger (node-a)                                   in another one
 *
 * Names of namespaces are new for each process: a cluster that is kept may have some that are still being deleted.
 */
import { namespaceObject, serviceAccountObject } from '../lab/kubernetes.ts';
import { echoPort, talkPod, talkService } from '../lab/cluster/talk.ts';
import type { LabProcess } from '../lab/process.ts';
import type { Finished } from '../lab/run.ts';
import type { Mesh } from './mesh.ts';

interface Pod {
  readonly metadata: {
    readonly uid: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly status: {
    readonly podIP: string;
    readonly podIPs: readonly { readonly ip: string }[];
    readonly containerStatuses: readonly { readonly containerID: string; readonly restartCount: number }[];
    readonly conditions: readonly { readonly type: string; readonly status: string }[];
  };
}

export type Player = 'client' | 'near' | 'far';
export const players: readonly Player[] = ['client', 'near', 'far'];
const nodes: Readonly<Record<Player | 'stranger', string>> = {
  client: 'node-a',
  near: 'node-a',
  far: 'node-b',
  stranger: 'node-a',
};

export class Stage {
  readonly mesh: Mesh;
  /** Of client, near and far. */
  readonly namespace: string;
  /** Of the stranger. */
  readonly street: string;

  private constructor(mesh: Mesh, name: string) {
    this.mesh = mesh;
    this.namespace = `${name}-${process.pid}`;
    this.street = `street-${process.pid}`;
  }

  /** Makes the pods, each with a service account of its own name, and waits until they are ready. */
  static async set(mesh: Mesh, name = 'shop'): Promise<Stage> {
    const stage = new Stage(mesh, name);
    const { namespace, street } = stage;
    const { kubectl } = mesh.cluster;
    await kubectl.apply([
      namespaceObject(namespace),
      namespaceObject(street),
      ...players.flatMap(name => [
        serviceAccountObject(namespace, name),
        talkPod({ name, namespace, node: nodes[name], serviceAccount: name }),
        talkService(namespace, name),
      ]),
      talkPod({ name: 'stranger', namespace: street, node: nodes.stranger }),
    ]);
    await Promise.all(
      [namespace, street].map(of =>
        kubectl.waitFor('condition=Ready', ['pod', '--all', `--namespace=${of}`]),
      ),
    );
    return stage;
  }

  /** SPIFFE URI of one of the three. */
  identity(player: Player): string {
    return `spiffe://cluster.local/ns/${this.namespace}/sa/${player}`;
  }

  /** Has the pod ask by HTTP; a path makes the request one that can be found again. */
  ask(from: Player | 'stranger', to: Player, path = '/'): Promise<Finished> {
    const url = `http://${to}.${this.namespace}${path}`;
    const pod = { name: from, namespace: from === 'stranger' ? this.street : this.namespace };
    return this.mesh.cluster.kubectl.exec(pod, ['talk', 'ask', url]);
  }

  /** As `ask`, without the API server. */
  async askWithoutApi(from: Container, to: Player, path = '/'): Promise<boolean> {
    const node = this.mesh.cluster.node(from.node);
    const url = `http://${to}.${this.namespace}${path}`;
    return (await node.runInContainer(from.id, ['talk', 'ask', url], { check: false })).code === 0;
  }

  /** Where the only container of a pod is, to be noted while there is an API server. */
  async container(player: Player): Promise<Container> {
    const id = await this.mesh.cluster.kubectl.containerId({ name: player, namespace: this.namespace });
    return { node: nodes[player], id };
  }

  /** A connection that lasts: the program prints a number for each line that came back. */
  stream(from: Player, to: Player): LabProcess {
    const target = `${to}.${this.namespace}:${echoPort}`;
    return this.mesh.cluster.spawnInPod({ name: from, namespace: this.namespace }, [
      'talk',
      'stream',
      target,
    ]);
  }

  pod(player: Player): Promise<Pod> {
    return this.mesh.cluster.kubectl.get<Pod>('pod', player, `--namespace=${this.namespace}`);
  }

  /** What changes when a pod is made anew or its program is started again. */
  async lives(): Promise<string[]> {
    const pods = await Promise.all(players.map(player => this.pod(player)));
    return pods.map(({ metadata, status }) => {
      const [container] = status.containerStatuses;
      return `${metadata.uid} ${container?.containerID} ${container?.restartCount}`;
    });
  }

  async clear(): Promise<void> {
    const { kubectl } = this.mesh.cluster;
    await Promise.all([kubectl.abandon(this.namespace), kubectl.abandon(this.street)]);
  }
}

export interface Container {
  readonly node: string;
  readonly id: string;
}

/** Waits until the stream has had `more` answers than it has now. */
export async function flows(stream: LabProcess, more = 10): Promise<void> {
  const last = stream.stdout().trimEnd().split('\n').at(-1) ?? '';
  await stream.says(new RegExp(`^${Number(last) + more}$`, 'm'));
}
