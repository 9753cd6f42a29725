/** Every Telemetry that is for waypoints, as its objects come and go, and what MeshConfig says besides. */
import { isDeepStrictEqual } from 'node:util';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { L7Change } from '../model/l7.ts';
import { type Telemetry, telemetryKey } from '../model/telemetry.ts';
import type { FindingStore } from './build-findings.ts';
import type { ObjectChange, Objects } from './build-objects.ts';
import { configTelemetry, telemetryOf } from './build-telemetry.ts';
import { objectName } from './located.ts';

export interface TelemetryBookOptions {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly findings: FindingStore;
}

export class TelemetryBook {
  readonly #options: TelemetryBookOptions;
  readonly #all = new Map<string, Telemetry>();
  #isNew = true;

  constructor(options: TelemetryBookOptions) {
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
    for (const change of changes) {
      if (change.kind !== 'Telemetry') continue;
      const key = `${change.namespace}/${change.name}`;
      const before = this.#all.get(key) ?? null;
      const resource = this.#make(change);
      if (resource === null) this.#all.delete(key);
      else this.#all.set(key, resource);
      if (!isDeepStrictEqual(before, resource)) changed.push({ list: 'telemetry', key, resource });
    }
    return changed;
  }

  #make(change: ObjectChange): Telemetry | null {
    const { objects, config, findings } = this.#options;
    const object = objects.get('Telemetry', change.namespace, change.name);
    if (object === null) {
      findings.put('telemetry', objectName(change), []);
      return null;
    }
    return findings.about('telemetry', object, report => telemetryOf(object, config, report));
  }
}
