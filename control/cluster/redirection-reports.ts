/**
 * What the agents that report to this replica say about the pods of their nodes, and what follows for one pod. No I/O;
 * redirection.ts writes it.
 *
 * While one agent takes over from another, both speak for their node: a pod that either has is redirected.
 */
import type { Finding } from '../finding.ts';
import { objectName } from '../located.ts';
import type { PodReport, Report, ReportingAgent } from '../node-reports.ts';
import { type PodIndex, type PodObject, hasEnded } from './pod-index.ts';

/** What is known of a pod: `denied` where an agent has said in so many words that it does not redirect it. */
export type Standing = 'unreported' | 'enrolled' | 'denied' | 'absent';

/** What one agent says of a pod; null when it says that the pod is gone. */
type Said = PodReport | null;

/** Kubelets take 110 pods, some are told to take more; an agent that names more than this is not right. */
const maxPodsPerNode = 4_096;
const maxMessage = 500;

export class RedirectionReports {
  readonly #pods: PodIndex;
  /** Node → agent → pod uid. */
  readonly #said = new Map<string, Map<string, Map<string, Said>>>();

  constructor(pods: PodIndex) {
    this.#pods = pods;
  }

  /**
   * Takes what an agent says. Returns the pods that it is about: in a full report every pod of its node. Null when it can
   * not be believed: what a stream begins with is everything, and without that nobody knows what an absent pod means.
   */
  take({ node, podUid: agent }: ReportingAgent, report: Report): PodObject[] | null {
    const ofNode = this.#said.get(node) ?? new Map<string, Map<string, Said>>();
    const before = ofNode.get(agent);
    if (!report.full && before === undefined) return null;
    const said = report.full || before === undefined ? new Map<string, Said>() : before;
    const say = (uid: string, what: Said): void => {
      if (said.size < maxPodsPerNode || said.has(uid)) said.set(uid, what);
    };
    for (const pod of report.pods) say(pod.podUid, pod);
    for (const uid of report.gone) {
      if (this.#pods.pod(uid) === null) said.delete(uid);
      else say(uid, null);
    }
    ofNode.set(agent, said);
    this.#said.set(node, ofNode);
    if (report.full) return [...this.#pods.on(node)];
    return [...report.pods.map(({ podUid }) => podUid), ...report.gone].flatMap(
      uid => this.#pods.pod(uid) ?? [],
    );
  }

  /** These agents and no others report to us: what others said does not count any more. */
  keep(agents: readonly ReportingAgent[]): void {
    const connected = new Set(agents.map(({ node, podUid }) => `${node} ${podUid}`));
    for (const [node, ofNode] of this.#said) {
      for (const agent of ofNode.keys()) if (!connected.has(`${node} ${agent}`)) ofNode.delete(agent);
      if (ofNode.size === 0) this.#said.delete(node);
    }
  }

  /** A pod is gone: so is what was said of its being gone. */
  forget({ value }: PodObject): void {
    const uid = value.metadata.uid ?? '';
    const ofNode = this.#said.get(value.spec.nodeName ?? '');
    for (const said of ofNode?.values() ?? []) if (said.get(uid) === null) said.delete(uid);
  }

  /** Of a pod that is on no node that reports, has the network of its node or has ended, nobody has anything to say. */
  standing(pod: PodObject): Standing {
    const { nodeName, hostNetwork } = pod.value.spec;
    const ofNode = nodeName === undefined ? undefined : this.#said.get(nodeName);
    if (ofNode === undefined || hostNetwork || hasEnded(pod)) return 'unreported';
    const { uid = '' } = pod.value.metadata;
    const said = [...ofNode.values()].filter(states => states.has(uid)).map(states => states.get(uid));
    if (said.some(it => it?.enrolled === true)) return 'enrolled';
    return said.length > 0 ? 'denied' : 'absent';
  }

  /** Pods that their agents could not enrol. */
  findings(): Finding[] {
    const findings: Finding[] = [];
    for (const [node, ofNode] of this.#said) {
      for (const said of [...ofNode.values()].flatMap(states => [...states.values()])) {
        const pod = said === null ? null : this.#pods.pod(said.podUid);
        const problem = said?.problem ?? null;
        if (problem === null || pod === null || pod.value.spec.nodeName !== node) continue;
        if (this.standing(pod) !== 'denied') continue;
        findings.push({
          severity: 'error',
          code: 'enrolment-failed',
          file: null,
          line: null,
          field: null,
          object: objectName(pod),
          message: `the agent of node ${node} could not enrol it: ${problem.code}: ${problem.message.slice(0, maxMessage)}`,
        });
      }
    }
    return findings;
  }
}
