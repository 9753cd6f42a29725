/**
 * The list that Gateway API keeps in a status: an entry for each parent of a route or ancestor of a policy and each
 * controller, with conditions. Pure. Entries of other controllers stay as they are, ours go with what they were about.
 */
import { gatewayController } from '../../model/kinds/gateway.ts';
import { type Verdict, renewed } from './conditions.ts';
import { record } from './own-object.ts';

/** What is to be said about one parent or ancestor. */
export interface Entry {
  /** As Gateway API names it there. */
  readonly ref: unknown;
  readonly verdicts: readonly Verdict[];
}

export interface EntryList {
  /** The member that names what an entry is about. */
  readonly member: 'parentRef' | 'ancestorRef';
  /** As it is in the object. */
  readonly present: unknown;
  /** As many as Gateway API takes, of all controllers. */
  readonly most: number;
  readonly generation: number;
}

/** The list as it should be; null when it is so already. */
export function renewedEntries(
  { member, present: had, most, generation }: EntryList,
  wanted: readonly Entry[],
  now: string,
): readonly unknown[] | null {
  const present: readonly unknown[] = Array.isArray(had) ? had : [];
  const others = present.filter(entry => record(entry)['controllerName'] !== gatewayController);
  const known = new Map(
    present.filter(entry => !others.includes(entry)).map(entry => [identityOf(record(entry)[member]), entry]),
  );
  let isNews = known.size !== present.length - others.length;
  const ours = wanted.slice(0, Math.max(0, most - others.length)).map(({ ref, verdicts }) => {
    const { conditions: of } = record(known.get(identityOf(ref)));
    const before: readonly unknown[] = Array.isArray(of) ? of : [];
    const { conditions, isNews: isOther } = renewed(before, verdicts, generation, now);
    isNews ||= isOther || before.length !== conditions.length;
    return { [member]: ref, controllerName: gatewayController, conditions };
  });
  isNews ||= ours.length !== known.size;
  return isNews ? [...others, ...ours] : null;
}

/** By what a reference names, in whatever order its members are. */
function identityOf(ref: unknown): string {
  const { group, kind, namespace, name, sectionName, port } = record(ref);
  return JSON.stringify([group, kind, namespace, name, sectionName, port]);
}
