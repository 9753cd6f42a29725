/** Labels and annotations of an object that look like the mesh's and mean nothing to it. */
import {
  dataplaneMode,
  ownAnnotations,
  ownLabels,
  useWaypoint,
  useWaypointNamespace,
  waypointFor,
} from '../model/kinds/marks.ts';
import type { Reporter } from './raw-object.ts';
import { nearest, suggestion } from './spelling.ts';

const labelMarks: readonly string[] = [
  ...dataplaneMode,
  ...useWaypoint,
  ...useWaypointNamespace,
  ...waypointFor,
];
/** Most labels of a cluster are on very many objects. */
const meantMarks = new Map<string, string | null>();
const maxMeantMarks = 1_000;

/** The label of the mesh that a key of another domain was probably meant as: `culver.dev/…`, `istio.io/dataplane-mod`. */
function meantMark(key: string): string | null {
  if (!key.includes('/') || labelMarks.includes(key)) return null;
  const known = meantMarks.get(key);
  if (known !== undefined) return known;
  if (meantMarks.size >= maxMeantMarks) meantMarks.clear();
  const meant = nearest(key, labelMarks);
  meantMarks.set(key, meant);
  return meant;
}

/** Names labels and annotations of ours that mean nothing, and those that mean something only in the other place. */
export function reportMarks(
  report: Reporter,
  labels: Readonly<Record<string, string>>,
  annotations: Readonly<Record<string, string>>,
): void {
  for (const key of Object.keys(labels)) {
    const path = ['metadata', 'labels', key];
    if (ownAnnotations.includes(key))
      report('warning', 'misplaced-mark', path, `${key} is an annotation, not a label`);
    else if (key.startsWith('culvert.dev/') && !ownLabels.includes(key)) {
      report('warning', 'unknown-label', path, `unknown label ${key}${suggestion(key, ownLabels)}`);
    } else {
      const meant = meantMark(key);
      if (meant !== null) {
        const message = `label ${key} means nothing to the mesh, did you mean ${meant}?`;
        report('warning', 'unknown-label', path, message);
      }
    }
  }
  for (const key of Object.keys(annotations)) {
    const path = ['metadata', 'annotations', key];
    if (labelMarks.some(mark => mark === key)) {
      report('warning', 'misplaced-mark', path, `${key} is a label, not an annotation`);
    } else if (key.startsWith('culvert.dev/') && !ownAnnotations.includes(key)) {
      report(
        'warning',
        'unknown-annotation',
        path,
        `unknown annotation ${key}${suggestion(key, ownAnnotations)}`,
      );
    }
  }
}
