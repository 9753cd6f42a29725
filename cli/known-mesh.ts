/** The mesh as far as a question about it could be answered, and what was left out of it. */
import type { BuildResult } from '../control/build.ts';
import { type Finding, formatFinding } from '../control/finding.ts';

export interface KnownMesh extends BuildResult {
  /** What could not be taken as it is written, so that the answer may be another than the mesh's. */
  readonly refused: readonly Finding[];
}

/** For people, beside the answer. */
export function refusedLines({ refused }: KnownMesh): string[] {
  if (refused.length === 0) return [];
  return [
    'not in this answer, since it is refused:',
    ...refused.map(finding => `  ${formatFinding(finding)}`),
  ];
}
