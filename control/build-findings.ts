/**
 * What the builder has to say, kept by object and by what part of the builder says it, so that a part that looks again
 * replaces its own words only, and a change can tell about which objects something else is said now.
 */
import { isDeepStrictEqual } from 'node:util';
import { type Finding, compareFindings } from './finding.ts';
import { type LocatedObject, findingAt, objectName, type Report } from './located.ts';

/** Which part speaks, and about what. */
export type Aspect =
  | 'duplicates'
  | 'namespace'
  | 'waypoint'
  | 'route'
  | 'telemetry'
  | 'telemetry-conflict'
  | 'route-conflict'
  | 'enrolment'
  | 'claims'
  | 'account'
  | 'service'
  | 'hosts'
  | 'addresses'
  | 'endpoints'
  | 'health'
  | 'slice'
  | 'members'
  | 'entry'
  | 'policy'
  | 'http-policy'
  | 'authentication'
  | 'reach'
  | 'overlaps'
  | 'references'
  | 'traffic'
  | 'traffic-reach'
  | 'credentials'
  | 'split'
  | 'backend-tls'
  | 'rate-limit';

export class FindingStore {
  /** By `Finding.object`, and then by aspect; nothing is kept of objects about which there is nothing to say. */
  readonly #said = new Map<string, Map<Aspect, readonly Finding[]>>();
  readonly #published = new Map<string, readonly Finding[]>();
  readonly #touched = new Set<string>();

  /** Replaces what an aspect says about the objects of a name. */
  put(aspect: Aspect, name: string, findings: readonly Finding[]): void {
    const aspects = this.#said.get(name);
    if (findings.length === 0 && aspects?.has(aspect) !== true) return;
    this.#touched.add(name);
    if (findings.length > 0) {
      if (aspects === undefined) this.#said.set(name, new Map([[aspect, findings]]));
      else aspects.set(aspect, findings);
    } else if (aspects?.delete(aspect) === true && aspects.size === 0) this.#said.delete(name);
  }

  /** Replaces what an aspect says about an object by what `look` reports. */
  about<T>(aspect: Aspect, object: LocatedObject, look: (report: Report) => T): T {
    const findings: Finding[] = [];
    const result = look((about, severity, code, field, message) => {
      findings.push(findingAt(about, severity, code, field, message));
    });
    this.put(aspect, objectName(object), findings);
    return result;
  }

  /** Everything that is said now, sorted by place. */
  all(): Finding[] {
    return [...this.#said.values()].flatMap(aspects => [...aspects.values()].flat()).sort(compareFindings);
  }

  /** The objects about which something else is said than when this was last asked, with all that is said now. */
  changes(): Map<string, readonly Finding[]> {
    const changes = new Map<string, readonly Finding[]>();
    for (const name of this.#touched) {
      const now = [...(this.#said.get(name)?.values() ?? [])].flat().sort(compareFindings);
      if (isDeepStrictEqual(now, this.#published.get(name) ?? [])) continue;
      if (now.length > 0) this.#published.set(name, now);
      else this.#published.delete(name);
      changes.set(name, now);
    }
    this.#touched.clear();
    return changes;
  }

  /**
   * Forgets what is said, but not what was published: what is not said again shows as a change. Duplicates stay, since
   * they are found where objects come in.
   */
  restart(): void {
    for (const [name, aspects] of this.#said) {
      for (const aspect of aspects.keys()) if (aspect !== 'duplicates') this.put(aspect, name, []);
    }
  }
}
