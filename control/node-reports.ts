/**
 * What agents say about the pods of their nodes: which are enrolled, and which could not be and why.
 *
 * Soft state: an agent says everything when it connects and then what changes. The node is the one that its token is bound
 * to. What was said stays said when a stream ends, since pods go on as they are while an agent restarts. While one agent
 * takes over from another, both speak for their node.
 */
import { Metadata, type ServerReadableStream, type sendUnaryData, status } from '@grpc/grpc-js';
import type { Logger } from '../base/log.ts';
import { protocols } from '../proto/load.ts';
import type { WireNodeReport, WireReportReply } from '../proto/messages.ts';
import type { Caller } from './authenticate.ts';
import type { ControlMetrics } from './control-metrics.ts';

export interface PodReport {
  readonly podUid: string;
  readonly enrolled: boolean;
  /** Why not, as in docs/errors.md; null for one that is. */
  readonly problem: { readonly code: string; readonly message: string } | null;
}

export interface Report {
  /** These pods and no others; otherwise what has changed since the last report. */
  readonly full: boolean;
  readonly pods: readonly PodReport[];
  /** UIDs of pods that are neither enrolled nor failed any more. */
  readonly gone: readonly string[];
  readonly agentVersion: string;
}

export interface ReportingAgent {
  readonly node: string;
  /** Of the agent's own pod; empty for a token that is bound to none. */
  readonly podUid: string;
}

export interface NodeReportsOptions {
  readonly callerOf: (metadata: Metadata) => Caller;
  /** In the order of arrival; the first report of every stream is a full one. */
  readonly onReport: (agent: ReportingAgent, report: Report) => void;
  readonly log: Logger;
  readonly metrics: Pick<ControlMetrics, 'reports' | 'streams' | 'streamsEnded'>;
  /** Pods of one report; more than any node has. */
  readonly maxPods: number;
}

type Call = ServerReadableStream<WireNodeReport, WireReportReply>;
type Reply = sendUnaryData<WireReportReply>;

/** With null when the client has ended the stream. */
type End = (problem: Problem | null) => void;

const maxText = 1_024;

export class NodeReports {
  readonly definition = protocols.services.nodeReports;
  readonly handlers = { Report: (call: Call, reply: Reply): void => this.#open(call, reply) };
  readonly #options: NodeReportsOptions;
  /** The latest stream of each agent: only it counts. */
  readonly #streams = new Map<string, { readonly agent: ReportingAgent; readonly end: End }>();
  #closed = false;

  constructor(given: Omit<NodeReportsOptions, 'maxPods'> & Partial<NodeReportsOptions>) {
    this.#options = { maxPods: 10_000, ...given };
  }

  /** Agents that are connected. */
  get agents(): readonly ReportingAgent[] {
    return Array.from(this.#streams.values(), ({ agent }) => agent);
  }

  /** Ends every stream, so that agents go to another replica, and takes no more. */
  close(): void {
    this.#closed = true;
    for (const { end } of this.#streams.values()) end(stopping);
  }

  #open(call: Call, reply: Reply): void {
    const { callerOf, metrics, onReport } = this.#options;
    const { node, podUid } = callerOf(call.metadata);
    call.on('error', () => {});
    if (node === null || this.#closed) {
      const { code, details } = node === null ? unbound : stopping;
      reply({ code, details, metadata: new Metadata() });
      return;
    }
    const agent = { node, podUid: podUid ?? '' };
    const key = `${node} ${agent.podUid}`;
    let isOpen = true;
    let isFirst = true;
    const end: End = problem => {
      if (!isOpen) return;
      isOpen = false;
      if (this.#streams.get(key)?.end === end) this.#streams.delete(key);
      metrics.streams.dec({ service: 'node-reports' });
      metrics.streamsEnded.inc({ service: 'node-reports', reason: problem?.reason ?? 'client' });
      if (problem === null) reply(null, protocols.reportReply.create({}));
      else reply({ code: problem.code, details: problem.details, metadata: new Metadata() });
    };
    metrics.streams.inc({ service: 'node-reports' });
    this.#streams.get(key)?.end(replaced);
    this.#streams.set(key, { agent, end });
    call.on('data', (wire: WireNodeReport) => {
      if (!isOpen) return;
      const report = this.#read(wire, isFirst);
      isFirst = false;
      if ('details' in report) {
        metrics.reports.inc({ result: 'refused' });
        this.#refused(node, report);
        end(report);
        return;
      }
      metrics.reports.inc({ result: 'accepted' });
      onReport(agent, report);
    });
    call.on('end', () => end(null));
    call.on('cancelled', () => end(null));
  }

  #read(wire: WireNodeReport, isFirst: boolean): Report | Problem {
    if (isFirst && !wire.full) return invalid('the first report of a stream must be a full one');
    if (wire.pods.length > this.#options.maxPods || wire.gone.length > this.#options.maxPods)
      return invalid(`more than ${this.#options.maxPods} pods`);
    if (wire.pods.some(({ podUid }) => podUid === '' || podUid.length > maxText))
      return invalid('a pod without a usable UID');
    return {
      full: wire.full,
      pods: wire.pods.map(({ podUid, enrolled, code, message }) => ({
        podUid,
        enrolled,
        problem: enrolled ? null : { code: code.slice(0, maxText), message: message.slice(0, maxText) },
      })),
      gone: wire.gone,
      agentVersion: wire.agentVersion.slice(0, maxText),
    };
  }

  #refused(node: string, { details }: Problem): void {
    this.#options.log.warn({ code: 'NODE_REPORT_INVALID', node }, `a report was refused: ${details}`);
  }
}

interface Problem {
  readonly code: status;
  readonly details: string;
  readonly reason: string;
}

const unbound: Problem = {
  code: status.PERMISSION_DENIED,
  details: 'the token is not bound to a node',
  reason: 'NODE_UNKNOWN',
};
const stopping: Problem = {
  code: status.UNAVAILABLE,
  details: 'this control plane stops',
  reason: 'CONTROL_STOPPING',
};
const replaced: Problem = {
  code: status.ABORTED,
  details: 'this agent has opened another stream',
  reason: 'NODE_REPORT_REPLACED',
};

function invalid(details: string): Problem {
  return { code: status.INVALID_ARGUMENT, details, reason: 'NODE_REPORT_INVALID' };
}
