/**
 * Connections that are carried as they are: judged again whenever policies change, and ended when denied.
 */
import { CulvertError } from '../base/errors.ts';
import type { HttpDecision } from '../model/http-policy.ts';

interface Open {
  /** As policies are now. */
  readonly judge: () => HttpDecision | null;
  readonly end: (error: CulvertError) => void;
}

export class OpenConnections {
  readonly #all = new Set<Open>();

  /** Judges it at once, as policies may be others than when it was let in. Returns what forgets it. */
  add(open: Open): () => void {
    this.#all.add(open);
    judge(open);
    return () => this.#all.delete(open);
  }

  judgeAgain(): void {
    for (const open of this.#all) judge(open);
  }
}

function judge({ judge: ask, end }: Open): void {
  const decision = ask();
  if (decision?.allowed === false)
    end(new CulvertError('POLICY_CHANGED', decision.reason, { side: 'client' }));
}
