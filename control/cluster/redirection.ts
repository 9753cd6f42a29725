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
import type { Finding } from '../finding.ts';
import type { Report, ReportingAgent } from '../node-reports.ts';
import { Rate } from '../rate.ts';
import { hasStatus } from './api-error.ts';
import type { Api } from './api.ts';
import { Backoff } from './backoff.ts';
import type { PodIndex, PodObject } from './pod-index.ts';
import { RedirectionReports } from './redirection-reports.ts';

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
  /** A pod that no report names for so long is not redirected; an agent that starts finds its pods one by one. */
  readonly absentMs: number;
  /** What was written onto a pod stays so long at least: two replicas must not write against each other at full speed. */
  readonly settledMs: number;
}

const [annotation] = redirection;
const enabled = 'enabled';
/** Patches under way at the same time, and begun in a second: a whole cluster may be enrolled at once. */
const concurrency = 16;
const limit = { perSecond: 200, burst: 200 };
const patchTimeoutMs = 10_000;
const defaultTiming: RedirectionTiming = {
  backoffMinMs: 250,
  backoffMaxMs: 30_000,
  believeMs: 15_000,
  absentMs: 5_000,
  settledMs: 1_000,
};

interface Written {
  readonly value: string | null;
  readonly at: number;
  /** Whether the watch has brought it back. */
  seen: boolean;
}

export class RedirectionWriter {
  readonly #options: RedirectionWriterOptions;
  readonly #timing: RedirectionTiming;
  readonly #stop = new AbortController();
  readonly #reports: RedirectionReports;
  /** Pods to look at, by uid, in the order in which they came. */
  readonly #queue = new Set<string>();
  readonly #attempts = new Map<string, Backoff>();
  /** Whom to look at later. */
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
    this.#reports = new RedirectionReports(options.pods);
    this.#timing = { ...defaultTiming, ...options.timing };
  }

  /** Annotations written, and attempts that failed, since the start. */
  get counts(): { readonly written: number; readonly failed: number; readonly waiting: number } {
    const waiting = this.#queue.size + this.#waiting.size + this.#busy.size;
    return { written: this.#patches, failed: this.#failures, waiting };
  }

  /** What an agent says of the pods of its node. Of pods that are not on that node it has nothing to say. */
  report(agent: ReportingAgent, report: Report): void {
    for (const pod of this.#reports.take(agent, report) ?? []) this.#look(pod);
  }

  /** These agents and no others report to us: what others said is no longer ours to write. */
  keep(agents: readonly ReportingAgent[]): void {
    this.#reports.keep(agents);
  }

  /** A pod has changed, is new (an agent may have been first to know of it), or is gone (null). */
  podChanged(before: PodObject | null, after: PodObject | null): void {
    const uid = (after ?? before)?.value.metadata.uid;
    if (uid === undefined) return;
    const gone = before?.value.metadata.uid;
    if (before !== null && gone !== undefined && gone !== after?.value.metadata.uid) {
      this.#drop(gone);
      this.#reports.forget(before);
    }
    if (after === null) return;
    const written = this.#written.get(uid);
    if (written?.value === annotationOf(after)) written.seen = true;
    this.#look(after);
  }

  /** Pods that their agents could not enrol. */
  findings(): Finding[] {
    return this.#reports.findings();
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
    this.#attempts.delete(uid);
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
    if (uid === undefined || this.#stop.signal.aborted) return;
    if (this.#due(pod) === undefined) return;
    const { backoffMinMs: minMs, backoffMaxMs: maxMs } = this.#timing;
    const backoff = this.#attempts.get(uid) ?? new Backoff({ minMs, maxMs });
    // One that waits after a failure has its time.
    if (this.#queue.has(uid) || backoff.failures > 0) return;
    const isAbsent = this.#reports.standing(pod) === 'absent';
    const wait = Math.max(this.#settlesIn(uid), isAbsent ? this.#timing.absentMs : 0);
    // What waits already keeps its time, however often the pod changes.
    if (wait > 0 && this.#waiting.has(uid)) return;
    clearTimeout(this.#waiting.get(uid));
    this.#waiting.delete(uid);
    if (wait > 0) this.#after(uid, wait, () => this.#enqueue(uid, backoff));
    else this.#enqueue(uid, backoff);
  }

  #enqueue(uid: string, backoff: Backoff): void {
    this.#attempts.set(uid, backoff);
    this.#queue.add(uid);
    this.#work();
  }

  /** What is to be written onto a pod: a value, null to remove it, undefined when nothing is. */
  #due(pod: PodObject): string | null | undefined {
    const standing = this.#reports.standing(pod);
    if (standing === 'unreported') return undefined;
    const wanted = standing === 'enrolled' ? enabled : null;
    const written = this.#written.get(pod.value.metadata.uid ?? '');
    const isBelieved =
      written !== undefined && !written.seen && performance.now() - written.at < this.#timing.believeMs;
    const present = isBelieved ? written.value : annotationOf(pod);
    return wanted === present ? undefined : wanted;
  }

  /** Milliseconds that what was written last has still to stay. */
  #settlesIn(uid: string): number {
    const written = this.#written.get(uid);
    return written === undefined ? 0 : Math.max(0, written.at + this.#timing.settledMs - performance.now());
  }

  #work(): void {
    if (this.#workers.size >= concurrency) return;
    const worker = this.#workThrough().finally(() => this.#workers.delete(worker));
    this.#workers.add(worker);
  }

  async #workThrough(): Promise<void> {
    const { signal } = this.#stop;
    for (let uid = this.#take(); uid !== null && !signal.aborted; uid = this.#take()) {
      const early = this.#rate.take(performance.now());
      if (early > 0) await setTimeout(early, undefined, { signal }).catch(() => {});
      const pod = this.#options.pods.pod(uid);
      const value = pod === null || signal.aborted ? undefined : this.#due(pod);
      const isDone = pod === null || value === undefined || (await this.#write(pod, uid, value));
      this.#busy.delete(uid);
      if (!isDone) this.#tryLater(uid);
      else {
        this.#attempts.delete(uid);
        // What it should be may have changed while it was written.
        this.#lookAt(uid);
      }
    }
  }

  #take(): string | null {
    for (const uid of this.#queue) {
      if (this.#busy.has(uid)) continue;
      this.#queue.delete(uid);
      this.#busy.add(uid);
      return uid;
    }
    return null;
  }

  /** False when it has to be tried again. */
  async #write(pod: PodObject, uid: string, value: string | null): Promise<boolean> {
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
      this.#written.set(uid, { value, at: performance.now(), seen: false });
      log.debug({ pod: name, value }, 'redirection written');
      return true;
    } catch (error) {
      if (this.#stop.signal.aborted) return true;
      // Gone, or another of the same name by now (which a server calls invalid: a uid does not change). The watch says
      // so before we try again.
      if (hasStatus(error, 404, 409, 422)) return false;
      this.#failures += 1;
      const isForbidden = hasStatus(error, 403);
      const level = isForbidden && this.#isForbidden ? 'debug' : 'warn';
      this.#isForbidden ||= isForbidden;
      log[level]({ pod: name, err: describeError(error) }, 'redirection could not be written: trying again');
      return false;
    }
  }

  #tryLater(uid: string): void {
    const backoff = this.#attempts.get(uid);
    // Gone meanwhile.
    if (backoff === undefined || this.#options.pods.pod(uid) === null) return this.#drop(uid);
    clearTimeout(this.#waiting.get(uid));
    this.#after(uid, backoff.next(), () => this.#enqueue(uid, backoff));
  }

  #after(uid: string, ms: number, act: () => void): void {
    if (this.#stop.signal.aborted) return;
    const timer = globalThis.setTimeout(() => {
      this.#waiting.delete(uid);
      act();
    }, ms);
    timer.unref();
    this.#waiting.set(uid, timer);
  }
}

function annotationOf(pod: PodObject): string | null {
  return pod.value.metadata.annotations[annotation] ?? null;
}
