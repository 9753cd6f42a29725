/**
 * Writes onto each pod whether its traffic is redirected (annotation `culvert.dev/redirection`), as the agent of its node
 * reports it. Others reach the pod through its tunnel only then, so what is written is what an agent has said, of a pod
 * that is on that agent's node, and of no other pod that has taken its name since (precondition: the uid).
 *
 * Agents report to any replica, and the one that was told writes: what is written twice is the same. When an agent is
 * gone, nothing is taken back: its pods are redirected still, and its next report is a full one.
 */
import { setTimeout } from 'node:timers/promises';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { redirection } from '../../model/kinds/marks.ts';
import type { WireNodeReport, WirePodState } from '../../proto/messages.ts';
import type { Finding } from '../finding.ts';
import { objectName } from '../located.ts';
import { Rate } from '../rate.ts';
import { type Api, hasStatus } from './api.ts';
import { Backoff } from './backoff.ts';
import { type PodIndex, type PodObject, hasEnded } from './pod-index.ts';

export interface RedirectionWriterOptions {
  readonly api: Api;
  readonly pods: PodIndex;
  readonly log: Logger;
  readonly timing?: Partial<RedirectionTiming>;
}

export interface RedirectionTiming {
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** How long we believe in what we wrote before the watch has brought it back. */
  readonly believeMs: number;
}

const [annotation] = redirection;
const enabled = 'enabled';
/** Patches under way at the same time, and begun in a second: a whole cluster may be enrolled at once. */
const concurrency = 16;
const limit = { perSecond: 200, burst: 200 };
/** Kubelets take 110 pods, some are told to take more; an agent that names more than this is not right. */
const maxPodsPerNode = 4_096;
const maxMessage = 500;
const patchTimeoutMs = 10_000;
const defaultTiming: RedirectionTiming = { backoffMinMs: 250, backoffMaxMs: 30_000, believeMs: 15_000 };

interface Written {
  readonly value: string | null;
  readonly until: number;
}

export class RedirectionWriter {
  readonly #options: RedirectionWriterOptions;
  readonly #timing: RedirectionTiming;
  readonly #stop = new AbortController();
  /** Node → pod uid → what its agent says. Only nodes that report to this replica. */
  readonly #reported = new Map<string, Map<string, WirePodState>>();
  /** Pods to look at, by uid, in the order in which they came. */
  readonly #queue = new Map<string, Backoff>();
  /** Whom to try again later. */
  readonly #waiting = new Map<string, NodeJS.Timeout>();
  readonly #busy = new Set<string>();
  readonly #written = new Map<string, Written>();
  readonly #rate = new Rate(limit, performance.now());
  readonly #workers = new Set<Promise<void>>();
  #isForbidden = false;
  #patches = 0;
  #failures = 0;

  constructor(options: RedirectionWriterOptions) {
    this.#options = options;
    this.#timing = { ...defaultTiming, ...options.timing };
  }

  /** Annotations written, and attempts that failed, since the start. */
  get counts(): { readonly written: number; readonly failed: number; readonly waiting: number } {
    const waiting = this.#queue.size + this.#waiting.size + this.#busy.size;
    return { written: this.#patches, failed: this.#failures, waiting };
  }

  /** What the agent of a node says of its pods. Of pods that are not on that node it has nothing to say. */
  report(node: string, report: WireNodeReport): void {
    const before = this.#reported.get(node);
    // What a stream begins with is everything; without it nobody knows what an absent pod means.
    if (!report.full && before === undefined) return;
    const states = report.full || before === undefined ? new Map<string, WirePodState>() : before;
    for (const state of report.pods) {
      if (states.size < maxPodsPerNode || states.has(state.podUid)) states.set(state.podUid, state);
    }
    for (const uid of report.gone) states.delete(uid);
    this.#reported.set(node, states);
    if (report.full) for (const pod of this.#options.pods.on(node)) this.#look(pod);
    else for (const uid of [...report.pods.map(({ podUid }) => podUid), ...report.gone]) this.#lookAt(uid);
  }

  /** The agent of a node reports to us no more: what waits to be written is no longer ours to write. */
  forget(node: string): void {
    this.#reported.delete(node);
  }

  /** A pod has changed, is new (an agent may have been first to know of it), or is gone (null). */
  podChanged(before: PodObject | null, after: PodObject | null): void {
    const uid = (after ?? before)?.value.metadata.uid;
    if (uid === undefined) return;
    const gone = before?.value.metadata.uid;
    if (gone !== undefined && gone !== after?.value.metadata.uid) this.#drop(gone);
    if (after === null) return;
    if (this.#written.get(uid)?.value === annotationOf(after)) this.#written.delete(uid);
    this.#look(after);
  }

  /** Pods that their agents could not enrol. */
  findings(): Finding[] {
    const findings: Finding[] = [];
    for (const [node, states] of this.#reported) {
      for (const { podUid, enrolled, code, message } of states.values()) {
        const pod = this.#options.pods.pod(podUid);
        if (enrolled || pod === null || pod.value.spec.nodeName !== node) continue;
        findings.push({
          severity: 'error',
          code: 'enrolment-failed',
          file: null,
          line: null,
          field: null,
          object: objectName(pod),
          message: `the agent of node ${node} could not enrol it: ${code}: ${message.slice(0, maxMessage)}`,
        });
      }
    }
    return findings;
  }

  /** Ends what is under way. */
  async stop(): Promise<void> {
    this.#stop.abort();
    for (const timer of this.#waiting.values()) clearTimeout(timer);
    this.#queue.clear();
    await Promise.all(this.#workers);
  }

  #drop(uid: string): void {
    this.#queue.delete(uid);
    clearTimeout(this.#waiting.get(uid));
    this.#waiting.delete(uid);
    this.#written.delete(uid);
  }

  #lookAt(uid: string): void {
    const pod = this.#options.pods.pod(uid);
    if (pod !== null) this.#look(pod);
  }

  #look(pod: PodObject): void {
    const { uid } = pod.value.metadata;
    if (uid === undefined || this.#stop.signal.aborted || this.#due(pod) === undefined) return;
    // One that waits after a failure has its time.
    if (this.#queue.has(uid) || this.#waiting.has(uid)) return;
    const { backoffMinMs: minMs, backoffMaxMs: maxMs } = this.#timing;
    this.#queue.set(uid, new Backoff({ minMs, maxMs }));
    this.#work();
  }

  /** What is to be written onto a pod: a value, null to remove it, undefined when nothing is. */
  #due(pod: PodObject): string | null | undefined {
    const { uid = '' } = pod.value.metadata;
    const { nodeName, hostNetwork } = pod.value.spec;
    const states = nodeName === undefined ? undefined : this.#reported.get(nodeName);
    if (states === undefined || hostNetwork || hasEnded(pod)) return undefined;
    const wanted = states.get(uid)?.enrolled === true ? enabled : null;
    const written = this.#written.get(uid);
    const isFresh = written !== undefined && performance.now() < written.until;
    const present = isFresh ? written.value : annotationOf(pod);
    return wanted === present ? undefined : wanted;
  }

  #work(): void {
    if (this.#workers.size >= concurrency) return;
    const worker = this.#workThrough().finally(() => this.#workers.delete(worker));
    this.#workers.add(worker);
  }

  async #workThrough(): Promise<void> {
    const { signal } = this.#stop;
    for (let next = this.#take(); next !== null && !signal.aborted; next = this.#take()) {
      const early = this.#rate.take(performance.now());
      if (early > 0) await setTimeout(early, undefined, { signal }).catch(() => {});
      const { uid, backoff } = next;
      const pod = this.#options.pods.pod(uid);
      const value = pod === null || signal.aborted ? undefined : this.#due(pod);
      if (pod !== null && value !== undefined) await this.#write(pod, uid, value, backoff);
      this.#busy.delete(uid);
      // What it should be may have changed while it was written.
      this.#lookAt(uid);
    }
  }

  #take(): { uid: string; backoff: Backoff } | null {
    for (const [uid, backoff] of this.#queue) {
      if (this.#busy.has(uid)) continue;
      this.#queue.delete(uid);
      this.#busy.add(uid);
      return { uid, backoff };
    }
    return null;
  }

  async #write(pod: PodObject, uid: string, value: string | null, backoff: Backoff): Promise<void> {
    const { api, log } = this.#options;
    const name = `${pod.namespace}/${pod.name}`;
    try {
      await api.json({
        method: 'PATCH',
        path: `/api/v1/namespaces/${pod.namespace}/pods/${pod.name}`,
        contentType: 'application/merge-patch+json',
        body: { metadata: { uid, annotations: { [annotation]: value } } },
        signal: this.#stop.signal,
        timeoutMs: patchTimeoutMs,
      });
      this.#patches += 1;
      this.#isForbidden = false;
      this.#written.set(uid, { value, until: performance.now() + this.#timing.believeMs });
      log.debug({ pod: name, value }, 'redirection written');
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      // Gone, or another of the same name by now (which a server calls invalid: a uid does not change). The watch says
      // so before we try again.
      if (hasStatus(error, 404, 409, 422)) return this.#tryLater(uid, backoff);
      this.#failures += 1;
      const isForbidden = hasStatus(error, 403);
      const level = isForbidden && this.#isForbidden ? 'debug' : 'warn';
      this.#isForbidden ||= isForbidden;
      log[level]({ pod: name, err: describeError(error) }, 'redirection could not be written: trying again');
      this.#tryLater(uid, backoff);
    }
  }

  #tryLater(uid: string, backoff: Backoff): void {
    const timer = globalThis.setTimeout(() => {
      this.#waiting.delete(uid);
      this.#queue.set(uid, backoff);
      this.#work();
    }, backoff.next());
    timer.unref();
    this.#waiting.set(uid, timer);
  }
}

function annotationOf(pod: PodObject): string | null {
  return pod.value.metadata.annotations[annotation] ?? null;
}
