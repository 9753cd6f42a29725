/** Configuration from text, without a directory: what a test says is what the builder gets. */
import { build, type BuildResult } from '../../control/build.ts';
import type { Finding } from '../../control/finding.ts';
import type { LocatedObject } from '../../control/located.ts';
import { type ParsedFile, parseSteps } from '../../control/parse.ts';

/** A file at once, without the pauses that the agent makes. */
export function parseFile(text: string, file: string): ParsedFile {
  const steps = parseSteps(text, file);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** The objects of one or more files; throws when any is refused. */
export function objectsOf(files: string | Readonly<Record<string, string>>): LocatedObject[] {
  const named = typeof files === 'string' ? { 'mesh.yaml': files } : files;
  return Object.entries(named).flatMap(([file, text]) => {
    const { objects, findings, refused } = parseFile(text, file);
    if (refused) throw new Error(`${file} is refused: ${findings.map(({ message }) => message).join('; ')}`);
    return objects;
  });
}

/** What the builder makes of one or more files. */
export function configured(files: string | Readonly<Record<string, string>>): BuildResult {
  return build(objectsOf(files));
}

/** Findings as `severity code line field`, which is what tests are about; the words may get better. */
export function brief(findings: readonly Finding[]): string[] {
  return findings.map(({ severity, code, line, field }) => `${severity} ${code} ${line} ${field}`);
}

export interface PodText {
  readonly name: string;
  readonly namespace?: string;
  readonly ip?: string;
  /** Further lines, as they stand in the object, by where they belong. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** A pod that is enrolled, unless the parts given say otherwise. One line of YAML (JSON, that is) and a separator. */
export function pod(text: PodText): string {
  const { name, namespace = 'shop', ip = '10.0.0.1' } = text;
  const object = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      labels: { 'culvert.dev/dataplane-mode': 'ambient', ...text.labels },
      annotations: { 'culvert.dev/netns': `/run/netns/${namespace}-${name}`, ...text.annotations },
      ...text.metadata,
    },
    spec: { nodeName: 'node-1', ...text.spec },
    status: { podIP: ip, ...text.status },
  };
  return `${JSON.stringify(object)}\n---\n`;
}
