/**
 * What is wrong with the configuration, one line each: where it stands, which object and field, and what follows.
 *
 * Findings come from reading a file (parse.ts, directory.ts) and from putting the objects together (build.ts).
 * docs/yaml.md lists the codes; a code never changes its meaning.
 */
export interface Finding {
  /** error: something asked for is not in force. warning: probably not what was meant. info: worth knowing. */
  readonly severity: 'error' | 'warning' | 'info';
  /** Lower-case words joined by `-`. */
  readonly code: string;
  /** Path relative to the directory, null where no file is concerned (an object from an API server). */
  readonly file: string | null;
  /** 1-based line in `file`. */
  readonly line: number | null;
  /** Path inside the object, for example `spec.ports[0].port`. */
  readonly field: string | null;
  /** `Kind namespace/name`, or `Kind name` for cluster-scoped kinds. */
  readonly object: string | null;
  readonly message: string;
}

export type Severity = Finding['severity'];

/** Says something about a field of the object at hand, which is named from its beginning. */
export type Say = (severity: Severity, code: string, field: string, message: string) => void;

/** Orders findings by place, so that a list reads like the files and is the same for the same state. */
export function compareFindings(a: Finding, b: Finding): number {
  return (
    compare(a.file ?? '', b.file ?? '') ||
    (a.line ?? 0) - (b.line ?? 0) ||
    compare(a.object ?? '', b.object ?? '') ||
    compare(a.field ?? '', b.field ?? '') ||
    compare(a.code, b.code) ||
    compare(a.message, b.message)
  );
}

/** One line for a person: `shop.yaml:12: error: Pod shop/web: message [code]`. */
export function formatFinding(finding: Finding): string {
  const place =
    finding.file === null ? '' : `${finding.file}${finding.line === null ? '' : `:${finding.line}`}: `;
  const object = finding.object === null ? '' : `${finding.object}: `;
  return `${place}${finding.severity}: ${object}${finding.message} [${finding.code}]`;
}

/** Orders text by code unit, the same on every machine (localeCompare is not). */
export function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
