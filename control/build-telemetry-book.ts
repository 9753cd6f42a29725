/** Every Telemetry that is for waypoints, as its objects and what they are attached to come and go, and what MeshConfig says besides. */
import { isDeepStrictEqual } from 'node:util';
import type { L7Change } from '../model/l7.ts';
import { type Telemetry, displacedBy, telemetryKey } from '../model/telemetry.ts';
import type { HttpPolicyBookOptions } from './build-http-policies.ts';
import type { ObjectChange } from './build-objects.ts';
import { touchedTargets } from './build-targets.ts';
import { configTelemetry, telemetryOf } from './build-telemetry.ts';
import { objectName } from './located.ts';

export class TelemetryBook {
  readonly #options: HttpPolicyBookOptions;
  readonly #all = new Map<string, Telemetry>();
  #isNew = true;

  constructor(options: HttpPolicyBookOptions) {
    this.#options = options;
    const config = configTelemetry(options.config);
    this.#all.set(telemetryKey(config), config);
  }

  /** Sorted by key. */
  all(): Telemetry[] {
    return [...this.#all].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, telemetry]) => telemetry);
  }

  /** Those that are others than before. */
  apply(changes: readonly ObjectChange[]): L7Change[] {
    // A book lives as long as one MeshConfig, so what that says is told once.
    const changed: L7Change[] = this.#isNew
      ? this.all().map(resource => ({ list: 'telemetry', key: telemetryKey(resource), resource }))
      : [];
    this.#isNew = false;
    const touched = this.#touchedBy(changes);
    for (const key of touched) {
      const before = this.#all.get(key) ?? null;
      const resource = this.#renew(key);
      if (resource === null) this.#all.delete(key);
      else this.#all.set(key, resource);
      if (!isDeepStrictEqual(before, resource)) changed.push({ list: 'telemetry', key, resource });
    }
    if (touched.size > 0) this.#reportDisplaced();
    return changed;
  }

  #touchedBy(changes: readonly ObjectChange[]): Set<string> {
    const keys = new Set<string>();
    for (const change of changes) {
      if (change.kind === 'Telemetry') keys.add(`${change.namespace}/${change.name}`);
      const touched = touchedTargets(change);
      if (touched === undefined) continue;
      const { objects } = this.#options;
      const attached = touched === null ? objects.all('Telemetry') : objects.in('Telemetry', touched);
      for (const { namespace, name, value } of attached)
        if ((value.spec.targetRef ?? value.spec.targetRefs) !== undefined) keys.add(`${namespace}/${name}`);
    }
    return keys;
  }

  #renew(key: string): Telemetry | null {
    const { objects, findings } = this.#options;
    const slash = key.indexOf('/');
    const [namespace, name] = [key.slice(0, slash), key.slice(slash + 1)];
    const object = objects.get('Telemetry', namespace, name);
    if (object === null) {
      for (const aspect of ['telemetry', 'telemetry-conflict'] as const)
        findings.put(aspect, objectName({ kind: 'Telemetry', namespace, name }), []);
      return null;
    }
    return findings.about('telemetry', object, report => telemetryOf(object, this.#options, report));
  }

  /** Of several that are equally near, all but one are in force for nothing. They are few: all are looked at. */
  #reportDisplaced(): void {
    const { objects, findings } = this.#options;
    const all = this.all();
    for (const telemetry of all) {
      const { namespace, name } = telemetry;
      const object = objects.get('Telemetry', namespace, name);
      if (object === null) continue;
      const displaced = displacedBy(telemetry, all);
      findings.about('telemetry-conflict', object, report => {
        const [first] = displaced.by;
        if (first === undefined) return;
        const where = displaced.from.length === 0 ? '' : ` for ${displaced.from.join(', ')}`;
        const message = `not in force${where}: Telemetry ${telemetryKey(first)} is older and equally near`;
        report(object, displaced.everywhere ? 'error' : 'warning', 'telemetry-conflict', 'spec', message);
      });
    }
  }
}
