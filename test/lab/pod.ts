/**
 * A pod of the lab: a namespace with one interface `eth0`, plugged into its node's bridge, and a cgroup.
 */
import { randomUUID } from 'node:crypto';
import type { PodWiring } from './network.ts';
import { Place, type PlaceParts } from './place.ts';

export interface PodSpec {
  /** Unique in the lab. */
  readonly name: string;
  /** Name of its node. */
  readonly node: string;
  /** `default` unless said, as with Kubernetes. */
  readonly namespace?: string;
  /** `default` unless said. */
  readonly serviceAccount?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Named ports of its container, which a Service may refer to. */
  readonly ports?: Readonly<Record<string, number>>;
  /** Last part of its addresses, 2 to 254; the lowest free one unless said. */
  readonly slot?: number;
  /**
   * Node whose bridge its cable goes to, and whose subnet its addresses are of; its own unless said. Pods of two nodes on
   * one bridge have the shortest wire there is between two agents: for measuring.
   */
  readonly pluggedInto?: string;
  /** Puts its cgroup outside the node's, where no hook of an agent sees it: what "no mesh" means when measuring. */
  readonly outsideCgroupRoot?: boolean;
}

export interface PodParts extends PlaceParts {
  readonly spec: PodSpec;
  /** Where its cable ends. */
  readonly wiring: PodWiring;
  readonly remove: (pod: LabPod) => Promise<void>;
}

export class LabPod extends Place {
  readonly spec: PodSpec;
  /** As Kubernetes gives it: another one for each pod, also for one that is made again under the same name. */
  readonly uid = randomUUID();
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly node: string;
  readonly wiring: PodWiring;
  readonly #remove: (pod: LabPod) => Promise<void>;
  #deleted: Promise<void> | null = null;

  constructor(parts: PodParts) {
    super(parts);
    this.spec = parts.spec;
    this.namespace = parts.spec.namespace ?? 'default';
    this.serviceAccount = parts.spec.serviceAccount ?? 'default';
    this.node = parts.spec.node;
    this.wiring = parts.wiring;
    this.#remove = parts.remove;
  }

  /** Ends its programs, unplugs it and removes its namespace; its addresses are free for the next pod. */
  delete(): Promise<void> {
    this.#deleted ??= this.#remove(this);
    return this.#deleted;
  }
}
