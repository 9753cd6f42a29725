/**
 * Whether a new pod may start: what the CNI plugin is answered, and for how long it waits.
 *
 * A pod of the mesh waits until it is enrolled, so that its first packet is protected. A pod that nobody has spoken of yet
 * waits for the control plane's word: long where its namespace belongs to the mesh, briefly elsewhere, and not at all
 * while there is no control plane to be heard. Excluded namespaces never wait.
 */
import { CulvertError, describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import {
  type CniAnswer,
  type CniQuestion,
  cniCodes,
  isEnrolled,
  mayStart,
  notEnrolled,
} from './cni-protocol.ts';
import type { EnrolledNamespaces } from './enrolled-namespaces.ts';
import type { NodePods } from './node-pods.ts';

/** Until the control plane says which, in the mesh's settings. */
const alwaysExcluded: readonly string[] = ['kube-system', 'culvert-system'];

export interface AdmissionLimits {
  /** How long a pod of the mesh may take to be enrolled, in all. */
  readonly enrolMs: number;
  /** How long a pod waits for the first word about it in a namespace that is not of the mesh. */
  readonly unknownMs: number;
}

export const defaultAdmissionLimits: AdmissionLimits = { enrolMs: 20_000, unknownMs: 2_000 };

export interface AdmissionOptions {
  readonly pods: NodePods;
  readonly namespaces: EnrolledNamespaces;
  /** Whether the control plane is heard now. */
  readonly connected: () => boolean;
  /** A sandbox came or went: what is wanted may have changed. */
  readonly onSandbox: () => void;
  readonly limits: AdmissionLimits;
  readonly log: Logger;
}

export class Admission {
  readonly #options: AdmissionOptions;
  /** Called when anything has changed that a waiting pod may depend on. */
  readonly #waiting = new Set<() => void>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** Looks again at every pod that waits. */
  reconsider(): void {
    for (const look of this.#waiting) look();
  }

  async answer(question: CniQuestion, signal: AbortSignal): Promise<CniAnswer> {
    const { pods, onSandbox } = this.#options;
    switch (question.command) {
      case 'ADD':
        return this.#add(question, signal);
      case 'DEL':
        pods.removeSandbox(question.sandboxId);
        onSandbox();
        return mayStart;
      case 'CHECK':
        return this.#check(question);
      default:
        return { code: cniCodes.badEnvironment, message: 'no such command', details: question.command };
    }
  }

  async #add(question: CniQuestion, signal: AbortSignal): Promise<CniAnswer> {
    const { pods, onSandbox, namespaces } = this.#options;
    const { pod, sandboxId, netns, addresses } = question;
    if (pod.namespace === '' || this.#isExcluded(pod.namespace)) return mayStart;
    if (pod.uid === '') {
      return namespaces.has(pod.namespace) ? refusal(noUid) : mayStart;
    }
    const { uid: podUid, namespace, name } = pod;
    const createdAt = Date.now();
    pods.addSandbox({ id: sandboxId, podUid, namespace, name, netns, addresses, createdAt });
    onSandbox();
    const answer = await this.#settled(question, signal);
    if (answer.code !== 0) {
      this.#options.log.warn(
        { pod: `${namespace}/${name}`, code: 'CNI_REFUSED', err: answer.message, details: answer.details },
        'pod may not start yet',
      );
    }
    return answer;
  }

  /** Looks at the pod whenever something changes and when a deadline passes. */
  #settled(question: CniQuestion, signal: AbortSignal): Promise<CniAnswer> {
    const started = performance.now();
    return new Promise(resolve => {
      let timer: NodeJS.Timeout | null = null;
      const end = (answer: CniAnswer): void => {
        if (timer !== null) clearTimeout(timer);
        this.#waiting.delete(look);
        signal.removeEventListener('abort', gone);
        resolve(answer);
      };
      const gone = (): void => end(refusal(abandoned));
      const look = (): void => {
        if (timer !== null) clearTimeout(timer);
        const waited = performance.now() - started;
        const verdict = this.#verdict(question, waited);
        if (typeof verdict === 'number') timer = setTimeout(look, Math.max(verdict - waited, 1));
        else end(verdict);
      };
      this.#waiting.add(look);
      signal.addEventListener('abort', gone, { once: true });
      if (signal.aborted) gone();
      else look();
    });
  }

  /** The answer, or until when to wait for it at most, in milliseconds after the question. */
  #verdict({ pod, sandboxId }: CniQuestion, waitedMs: number): CniAnswer | number {
    const { pods, namespaces, limits, log, connected } = this.#options;
    const progress = pods.progress(pod.uid, sandboxId);
    switch (progress) {
      case 'enrolled':
        return isEnrolled;
      case 'unwanted':
        return mayStart;
      case 'unknown': {
        if (namespaces.has(pod.namespace))
          return waitedMs < limits.enrolMs ? limits.enrolMs : refusal(unknownPod);
        return connected() && waitedMs < limits.unknownMs ? limits.unknownMs : mayStart;
      }
      case 'waiting':
        if (waitedMs < limits.enrolMs) return limits.enrolMs;
    }
    const error = progress === 'waiting' ? tooLate(limits.enrolMs) : progress;
    if (pods.wish(pod.uid, sandboxId)?.failMode !== 'open') return refusal(error);
    log.warn(
      { pod: `${pod.namespace}/${pod.name}`, code: error.code, err: error.message },
      'pod starts without the mesh: it is fail-open and could not be enrolled',
    );
    return mayStart;
  }

  #check({ pod, sandboxId }: CniQuestion): CniAnswer {
    const progress = this.#options.pods.progress(pod.uid, sandboxId);
    return progress instanceof CulvertError ? refusal(progress) : mayStart;
  }

  #isExcluded(namespace: string): boolean {
    return (this.#options.pods.settings?.excludedNamespaces ?? alwaysExcluded).includes(namespace);
  }
}

function refusal(error: CulvertError): CniAnswer {
  const code = error.code === 'ENROL_UNKNOWN_POD' ? cniCodes.tryAgain : notEnrolled;
  return { code, message: `culvert: ${error.message}`, details: describeError(error) };
}

const noUid = new CulvertError('ENROL_NO_UID', 'the container runtime does not say the UID of the pod', {
  fix: 'containerd says it since 1.5, CRI-O since 1.20: update the container runtime',
});

const abandoned = new CulvertError('ENROL_ABANDONED', 'the runtime has given up on the pod');

const unknownPod = new CulvertError(
  'ENROL_UNKNOWN_POD',
  'the namespace of the pod is in the mesh, but the control plane has not said yet who the pod is',
  { fix: 'check that culvert-control runs and that the agent of this node is connected to it' },
);

function tooLate(ms: number): CulvertError {
  return new CulvertError('ENROL_TIMEOUT', `the pod was not enrolled within ${ms} ms`, {
    fix: 'the log of the agent of this node says what it waits for',
  });
}
