/**
 * What a shard does not know yet, where the agent knows of the mesh only what its pods need: whoever meets an unknown
 * address or name waits here, while the main thread asks the control plane (answer-inquiry.ts).
 *
 * An answer that there is nothing is kept: an address outside the mesh is asked for once. What the control plane says has
 * been applied to the shard's mesh before the answer comes.
 */
import { CulvertError } from '../base/errors.ts';
import type { FromShard } from './messages.ts';

export interface InquiryLimits {
  /** How long a connection waits for what its destination is. */
  readonly inquiryMs: number;
  /** The same for what can be done without the answer: a name of DNS, the labels of a client. */
  readonly hintMs: number;
  /** Waiting at once, of one pod and of the shard. */
  readonly inquiriesPerPod: number;
  readonly inquiries: number;
}

export interface Inquiry {
  /** By workload uid: whose limit it counts for. */
  readonly pod: string;
  /** What is unknown now, by name; asked again after each answer, which may lead to more. */
  readonly needs: () => readonly string[];
  /** Without patience nobody waits for a control plane that is away. */
  readonly patient: boolean;
  /** With null when everything is known that there is; with INQUIRY_UNANSWERED or INQUIRY_LIMIT when it is not. */
  readonly done: (error: CulvertError | null) => void;
}

interface Waiting {
  readonly inquiry: Inquiry;
  readonly timer: NodeJS.Timeout;
  readonly names: readonly string[];
  readonly rounds: number;
}

/** A destination, its waypoint, what that stands behind: whoever leads further leads nowhere. */
const maxRounds = 4;

export class Inquiries {
  readonly #limits: InquiryLimits;
  readonly #send: (message: FromShard) => void;
  readonly #waiting = new Map<number, Waiting>();
  readonly #perPod = new Map<string, number>();
  /** Names that nothing has; the control plane says so when that changes. */
  readonly #missing = new Set<string>();
  #next = 1;

  constructor(limits: InquiryLimits, send: (message: FromShard) => void) {
    this.#limits = limits;
    this.#send = send;
  }

  /** Calls `done` at once where nothing has to be asked. */
  learn(inquiry: Inquiry): void {
    this.#round(inquiry, 0);
  }

  /** What the main thread heard of an inquiry. */
  answered(id: number, answered: boolean, missing: readonly string[]): void {
    for (const name of missing) this.#missing.add(name);
    const waiting = this.#leave(id);
    if (waiting === null) return;
    if (answered) this.#round(waiting.inquiry, waiting.rounds + 1);
    else this.#unanswered(waiting);
  }

  /** Of these no news will come any more. */
  forget(names: readonly string[]): void {
    for (const name of names) this.#missing.delete(name);
  }

  #round(inquiry: Inquiry, rounds: number): void {
    const names = inquiry.needs().filter(name => !this.#missing.has(name));
    if (names.length === 0) {
      inquiry.done(null);
      return;
    }
    const ofPod = this.#perPod.get(inquiry.pod) ?? 0;
    const { inquiries, inquiriesPerPod, inquiryMs, hintMs } = this.#limits;
    if (this.#waiting.size >= inquiries || ofPod >= inquiriesPerPod) {
      inquiry.done(tooMany(names));
      return;
    }
    const id = this.#next++;
    const timer = setTimeout(
      () => {
        const waiting = this.#leave(id);
        if (waiting !== null) this.#unanswered(waiting);
      },
      inquiry.patient ? inquiryMs : hintMs,
    ).unref();
    const waiting = { inquiry, timer, names, rounds };
    this.#waiting.set(id, waiting);
    this.#perPod.set(inquiry.pod, ofPod + 1);
    if (rounds < maxRounds) this.#send({ type: 'inquire', id, names, patient: inquiry.patient });
    else this.answered(id, false, []);
  }

  #leave(id: number): Waiting | null {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return null;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    const { pod } = waiting.inquiry;
    const left = (this.#perPod.get(pod) ?? 1) - 1;
    if (left > 0) this.#perPod.set(pod, left);
    else this.#perPod.delete(pod);
    return waiting;
  }

  #unanswered({ inquiry, names }: Waiting): void {
    inquiry.done(
      new CulvertError('INQUIRY_UNANSWERED', `the control plane has not said what ${names.join(', ')} is`, {
        side: 'us',
        fix: 'look whether the control plane runs: culvert status; it is asked about what this node has not met before',
      }),
    );
  }
}

function tooMany(names: readonly string[]): CulvertError {
  return new CulvertError('INQUIRY_LIMIT', `too many wait for the control plane to ask for ${names.join()}`, {
    side: 'client',
    fix: 'look whether a pod scans addresses, and whether the control plane answers: culvert status',
  });
}
