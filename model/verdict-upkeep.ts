/**
 * What becomes of a verdict of the kernel path when the mesh has changed. One that was taken away comes back as soon as it
 * would be decided so again: whoever has used it need not ask the agent first.
 */

/** A connection between two pods of one node, decided once. */
export interface KnownVerdict {
  /** The kernel has it. */
  readonly inForce: boolean;
  /** Cookie of the destination's namespace. */
  readonly destination: bigint;
  readonly uid: string;
}

/** As it would be decided now. */
export type Decision =
  | { readonly kind: 'allowed'; readonly destination: bigint; readonly uid: string }
  | { readonly kind: 'denied' }
  | { readonly kind: 'elsewhere' };

export type Upkeep = 'stays' | 'goes' | 'returns' | 'rests';

/** About the same source, address and port. Another destination is another connection, which somebody has to try first. */
export function upkeep(known: KnownVerdict, decision: Decision): Upkeep {
  const same =
    decision.kind === 'allowed' && decision.destination === known.destination && decision.uid === known.uid;
  if (known.inForce) return same ? 'stays' : 'goes';
  return same ? 'returns' : 'rests';
}
