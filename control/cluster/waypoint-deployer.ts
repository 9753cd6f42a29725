/**
 * Makes what Gateways of waypoint classes ask for: service account, Service, pods and what keeps them up, and the roots
 * that these pods trust, in each namespace with a waypoint. Done by the replica that leads, by server-side apply, again
 * when a Gateway changes and now and then, so that what somebody has changed or removed is put right.
 *
 * What exists under the name of a Gateway and is not of it is never taken over: the Gateway says so in its status. What
 * is made is owned by its Gateway, so that the cluster removes it with it.
 */
import { setTimeout } from 'node:timers/promises';
import * as z from 'zod';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Located, LocatedObject } from '../located.ts';
import { gatewayController, gatewayGroup, waypointClasses } from '../../model/kinds/gateway.ts';
import { gatewayName } from '../../model/kinds/marks.ts';
import { type WaypointOptions, noOptions, waypointOptions } from '../waypoint-options.ts';
import { type WaypointPods, managedBy, ownerOf, rootsObject, waypointObjects } from '../waypoint-objects.ts';
import { hasStatus } from './api-error.ts';
import type { Api } from './api.ts';
import { Backoff } from './backoff.ts';
import type { WaypointState } from './gateway-status.ts';
import { writeTimeoutMs } from './lease.ts';
import { ManagedObjects } from './managed-objects.ts';
import { ReadyPods } from './ready-pods.ts';

export interface WaypointDeployerOptions {
  readonly api: Api;
  /** Null: nobody has said which image pods should have, so none are made. */
  readonly pods: WaypointPods | null;
  /** Every Gateway that is a waypoint of ours. */
  readonly gateways: () => Iterable<Located<'Gateway'>>;
  readonly service: (namespace: string, name: string) => Located<'Service'> | null;
  /** Whether the server has GatewayClasses, and not that of waypoints. */
  readonly lacksClass: () => boolean;
  readonly clusterDomain: () => string;
  /** PEM; null while the authority is not open. */
  readonly roots: () => string | null;
  /** Where the roots are distributed anyway. */
  readonly ownNamespace: string;
  /** Asked before each write. */
  readonly mayWrite: () => boolean;
  /** What status says of some Gateway may be another now. */
  readonly onState: () => void;
  readonly log: Logger;
  readonly timing?: Partial<DeployerTiming>;
}

export interface DeployerTiming {
  /** How often everything is looked at, whether anything changed or not. */
  readonly lookMs: number;
  /** After a change, until it is looked at: changes come in groups. */
  readonly soonMs: number;
  /** How often to see whether the server has come to know of Gateways. */
  readonly classMs: number;
}

const defaultTiming: DeployerTiming = { lookMs: 30_000, soonMs: 50, classMs: 1_000 };
const [className = ''] = waypointClasses;
/** A Service has no longer name, and neither has a label. */
const maxName = 63;
const configMapSchema = z.object({ data: z.record(z.string(), z.string()).nullish() });

/** What came of a Gateway when it was looked at last. */
interface Outcome {
  readonly uid: string;
  readonly refused: WaypointState['refused'];
  readonly problem: string | null;
}

export class WaypointDeployer {
  readonly #options: WaypointDeployerOptions;
  readonly #timing: DeployerTiming;
  readonly #objects: ManagedObjects;
  readonly #ready = new ReadyPods();
  readonly #outcomes = new Map<string, Outcome>();
  readonly #backoff = new Backoff({ minMs: 500, maxMs: 15_000 });
  readonly #stop = new AbortController();
  #wake = new AbortController();
  #running: Promise<void> | null = null;
  #classTimer: NodeJS.Timeout | undefined;

  constructor(options: WaypointDeployerOptions) {
    this.#options = options;
    this.#timing = { ...defaultTiming, ...options.timing };
    this.#objects = new ManagedObjects({
      api: options.api,
      mayWrite: options.mayWrite,
      signal: this.#stop.signal,
    });
  }

  start(): void {
    this.#running ??= this.#run();
    const { lacksClass, mayWrite } = this.#options;
    this.#classTimer ??= setInterval(() => {
      if (mayWrite() && lacksClass()) this.touch();
    }, this.#timing.classMs).unref();
  }

  /** Something that it looks at may be another, or this replica may write now. */
  touch(): void {
    this.#wake.abort();
  }

  /** Any change of any object. */
  objectChanged(before: LocatedObject | null, after: LocatedObject | null): void {
    const { kind, value } = after ?? before ?? { kind: null, value: null };
    if (kind === 'Pod') this.#ready.apply(before, after);
    const isOfWaypoint = value !== null && Object.hasOwn(value.metadata.labels, gatewayName);
    if (kind === 'Gateway' || kind === 'GatewayClass' || (kind === 'Service' && isOfWaypoint)) this.touch();
  }

  /** What there is of a waypoint now. */
  state({ namespace, name, value }: Located<'Gateway'>): WaypointState {
    const outcome = this.#outcomes.get(`${namespace}/${name}`);
    const isKnown = outcome !== undefined && outcome.uid === value.metadata.uid;
    return {
      refused: isKnown ? outcome.refused : null,
      problem: isKnown ? outcome.problem : 'nobody has looked at it yet',
      addresses: this.#addresses(namespace, name),
      readyPods: this.#ready.count(namespace, name),
    };
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    clearInterval(this.#classTimer);
    this.#wake.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const wake = this.#wake.signal;
      const isGood = !this.#options.mayWrite() || (await this.#lookAtAll());
      if (isGood) this.#backoff.reset();
      const wait = isGood ? this.#timing.lookMs : this.#backoff.next();
      await setTimeout(wait, undefined, { signal: wake, ref: false }).catch(() => {});
      if (wake.aborted)
        await setTimeout(this.#timing.soonMs, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  /** False when something could not be written. */
  async #lookAtAll(): Promise<boolean> {
    const gateways = [...this.#options.gateways()];
    const keys = new Set(gateways.map(({ namespace, name }) => `${namespace}/${name}`));
    for (const key of this.#outcomes.keys()) if (!keys.has(key)) this.#outcomes.delete(key);
    this.#objects.keep(keys);
    let isGood = await this.#introduce();
    for (const [namespace, of] of Map.groupBy(gateways, gateway => gateway.namespace)) {
      const rootsProblem = await this.#distribute(namespace, of);
      for (const gateway of of) {
        if (this.#stop.signal.aborted || !this.#options.mayWrite()) return true;
        const outcome = await this.#lookAt(gateway, rootsProblem);
        isGood &&= outcome.problem === null;
        this.#note(gateway, outcome);
      }
    }
    return isGood;
  }

  /** Tells the cluster that there is a class of waypoints. */
  async #introduce(): Promise<boolean> {
    const { api, lacksClass, mayWrite, log } = this.#options;
    if (!lacksClass() || !mayWrite()) return true;
    try {
      await api.json({
        method: 'PATCH',
        path: `/apis/${gatewayGroup}/v1/gatewayclasses/${className}?fieldManager=culvert-control`,
        contentType: 'application/apply-patch+yaml',
        body: {
          apiVersion: `${gatewayGroup}/v1`,
          kind: 'GatewayClass',
          metadata: { name: className, labels: { 'app.kubernetes.io/part-of': 'culvert', ...managedBy } },
          spec: { controllerName: gatewayController, description: 'waypoints of the mesh' },
        },
        signal: this.#stop.signal,
        timeoutMs: writeTimeoutMs,
      });
      return true;
    } catch (error) {
      log.warn({ err: describeError(error) }, `the GatewayClass ${className} could not be made`);
      return false;
    }
  }

  #note({ namespace, name }: Located<'Gateway'>, outcome: Outcome): void {
    const key = `${namespace}/${name}`;
    const before = this.#outcomes.get(key);
    this.#outcomes.set(key, outcome);
    const why = outcome.refused?.message ?? outcome.problem;
    if (why !== null && why !== (before?.refused?.message ?? before?.problem))
      this.#options.log.warn({ gateway: key, err: why }, 'a waypoint is not as it should be');
    if (JSON.stringify(before) !== JSON.stringify(outcome)) this.#options.onState();
  }

  async #lookAt(gateway: Located<'Gateway'>, rootsProblem: string | null): Promise<Outcome> {
    const { pods } = this.#options;
    const { uid = '' } = gateway.value.metadata;
    const refuse = (reason: string, message: string): Outcome => ({
      uid,
      refused: { reason, message },
      problem: null,
    });
    if (gateway.name.length > maxName)
      return refuse('Invalid', `a waypoint has a name of ${maxName} characters at most, as its Service`);
    const outcome = { uid, refused: null } as const;
    if (pods === null) {
      const message = 'the control plane was not told which image waypoints have (--waypoint-image)';
      return { ...outcome, problem: message };
    }
    try {
      const chosen = await this.#chosen(gateway);
      if (typeof chosen === 'string') return refuse('InvalidParameters', chosen);
      const wanted = waypointObjects(gateway, pods, chosen);
      const problem = rootsProblem ?? (await this.#objects.settle(gateway, wanted));
      return { ...outcome, problem };
    } catch (error) {
      return { ...outcome, problem: describeError(error) };
    }
  }

  /** The options of a Gateway, or why they can not be had. */
  async #chosen({ namespace, value }: Located<'Gateway'>): Promise<WaypointOptions | string> {
    const reference = value.spec.infrastructure?.parametersRef;
    if (reference === undefined) return noOptions;
    if (reference.group !== '' || reference.kind !== 'ConfigMap')
      return `spec.infrastructure.parametersRef: a ConfigMap is needed, not a ${reference.kind}`;
    try {
      const path = `/api/v1/namespaces/${namespace}/configmaps/${encodeURIComponent(reference.name)}`;
      const { data } = configMapSchema.parse(
        await this.#options.api.json({ path, signal: this.#stop.signal }),
      );
      const { options, problems } = waypointOptions(data ?? {});
      return problems.length === 0
        ? options
        : `ConfigMap ${namespace}/${reference.name}: ${problems.join('; ')}`;
    } catch (error) {
      if (hasStatus(error, 404)) return `there is no ConfigMap ${namespace}/${reference.name}`;
      throw error;
    }
  }

  /** Puts the roots into a namespace with waypoints; returns what kept it from doing so. */
  async #distribute(namespace: string, gateways: readonly Located<'Gateway'>[]): Promise<string | null> {
    const { roots, ownNamespace, mayWrite, pods } = this.#options;
    if (namespace === ownNamespace || pods === null || !mayWrite()) return null;
    const pem = roots();
    if (pem === null) return 'the certificate authority is not open yet';
    try {
      return await this.#objects.write(rootsObject(namespace, pem, gateways.map(ownerOf)));
    } catch (error) {
      return describeError(error);
    }
  }

  #addresses(namespace: string, name: string): WaypointState['addresses'] {
    const service = this.#options.service(namespace, name);
    if (service === null) return [];
    const { clusterIP, clusterIPs } = service.value.spec;
    const ips = [...new Set([...(clusterIP === undefined ? [] : [clusterIP]), ...clusterIPs])].filter(
      ip => ip !== '' && ip !== 'None',
    );
    if (ips.length === 0) return [];
    const hostname = `${name}.${namespace}.svc.${this.#options.clusterDomain()}`;
    return [
      { type: 'Hostname', value: hostname },
      ...ips.map(value => ({ type: 'IPAddress' as const, value })),
    ];
  }
}
