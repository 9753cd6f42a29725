import { isDeepStrictEqual } from 'node:util';
import * as fc from 'fast-check';
import t from 'tap';
import { build, resultOf } from '../../control/build.ts';
import type { BuildMode } from '../../control/build-enrolment.ts';
import { type BuildChange, IncrementalBuilder, type ObjectRef } from '../../control/build-incremental.ts';
import type { PlacedPod } from '../../control/build-node-pods.ts';
import type { Finding } from '../../control/finding.ts';
import { type LocatedObject, clusterOrigin } from '../../control/located.ts';
import { Mesh } from '../../model/mesh.ts';
import type { MeshSettings } from '../../model/node-pod.ts';
import { objectsOf } from '../help/configuration.ts';
import { type Thing, textOf, thing } from '../help/world.ts';

/** What somebody has who only ever heard of changes. */
class Listener {
  readonly mesh = new Mesh();
  readonly pods = new Map<string, PlacedPod>();
  readonly findings = new Map<string, readonly Finding[]>();
  settings: MeshSettings | null = null;

  hear(change: BuildChange): void {
    this.mesh.apply(change.mesh);
    for (const uid of change.nodePods.removed) this.pods.delete(uid);
    for (const placed of change.nodePods.set) this.pods.set(placed.pod.podUid, placed);
    for (const [object, findings] of change.findings) {
      if (findings.length > 0) this.findings.set(object, findings);
      else this.findings.delete(object);
    }
    this.settings = change.settings ?? this.settings;
  }
}

function objectOf(described: Thing, mode: BuildMode, place: number): LocatedObject {
  const [object] = objectsOf({ [`${place}.yaml`]: textOf(described) });
  if (object === undefined) throw new Error('no object');
  return mode === 'directory'
    ? object
    : { ...object, origin: clusterOrigin(described.group === 'istio' ? 1 : 0) };
}

/** Objects by what tells them apart, as an API server or a directory does. */
function identity({ kind, namespace, name, origin }: ObjectRef): string {
  return [kind, namespace, name, origin?.file, origin?.index].join(' ');
}

interface Step {
  readonly set: readonly Thing[];
  /** Positions among the objects that are there. */
  readonly removed: readonly number[];
  /** Files of a directory, for each of `set`: two of them may describe one object. */
  readonly places: readonly number[];
}

const step: fc.Arbitrary<Step> = fc.record({
  set: fc.array(thing, { maxLength: 4 }),
  removed: fc.array(fc.nat({ max: 50 }), { maxLength: 2 }),
  places: fc.array(fc.nat({ max: 2 }), { minLength: 4, maxLength: 4 }),
});

function checkSteps(mode: BuildMode, steps: readonly Step[]): void {
  const builder = new IncrementalBuilder({ mode });
  const listener = new Listener();
  const present = new Map<string, LocatedObject>();
  for (const { set, removed, places } of steps) {
    const gone = removed.flatMap(position => [...present.values()][position] ?? []);
    for (const object of gone) present.delete(identity(object));
    const come = new Map(
      set.map((described, n) => {
        const object = objectOf(described, mode, places[n] ?? 0);
        return [identity(object), object];
      }),
    );
    for (const [key, object] of come) present.set(key, object);
    const change = builder.apply({ set: [...come.values()], removed: gone });
    listener.hear(change);

    const whole = build([...present.values()], { mode });
    expectSame(resultOf(builder), whole);
    expectSame(listener.mesh.snapshot(), whole.mesh);
    expectSame(
      [...listener.pods.values()].sort((a, b) => (a.pod.podUid < b.pod.podUid ? -1 : 1)),
      whole.nodePods,
    );
    expectSame(listener.settings, whole.settings);
    expectSame(
      Object.fromEntries([...listener.findings].sort(([a], [b]) => (a < b ? -1 : 1))),
      Object.fromEntries(
        [...Map.groupBy(whole.findings, ({ object }) => object ?? '')].sort(([a], [b]) => (a < b ? -1 : 1)),
      ),
    );
  }
}

/** Comparing is most of the work of these tests, so what differs is only looked for where something does. */
function expectSame(found: unknown, wanted: unknown): void {
  if (!isDeepStrictEqual(found, wanted)) throw new Error(difference(found, wanted, ''));
}

function difference(found: unknown, wanted: unknown, path: string): string {
  if (isDeepStrictEqual(found, wanted)) return '';
  if (typeof found !== 'object' || typeof wanted !== 'object' || found === null || wanted === null) {
    return `${path}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}\n`;
  }
  const [left, right] = [found, wanted] as Record<string, unknown>[];
  const keys = new Set([...Object.keys(found), ...Object.keys(wanted)]);
  return [...keys].map(key => difference(left?.[key], right?.[key], `${path}.${key}`)).join('');
}

for (const mode of ['cluster', 'directory'] as const) {
  t.test(`after any changes of a ${mode} there is what all objects together make`, async t => {
    const check = (): void =>
      fc.assert(
        fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), steps => checkSteps(mode, steps)),
        { numRuns: Number(process.env['FC_RUNS'] ?? 300) },
      );
    t.doesNotThrow(check);
  });
}
