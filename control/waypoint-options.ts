/**
 * What the author of a Gateway may choose about the pods of a waypoint: keys of the ConfigMap that
 * `spec.infrastructure.parametersRef` names, each with YAML as a pod or a chart has it. Pure.
 *
 * A key that nobody knows refuses the Gateway: a misspelt limit must not be none.
 */
import * as z from 'zod';
import { parse } from 'yaml';

const quantity = z.union([z.string(), z.number()]);
const json = z.record(z.string(), z.json());

const keys = {
  replicas: z.int().min(1).max(1_000),
  autoscaling: z.strictObject({
    minReplicas: z.int().min(1).default(2),
    maxReplicas: z.int().min(1),
    cpuPercent: z.int().min(1).max(1_000).default(80),
  }),
  resources: z.strictObject({
    requests: z.record(z.string(), quantity).default({}),
    limits: z.record(z.string(), quantity).default({}),
  }),
  nodeSelector: z.record(z.string(), z.string()),
  tolerations: z.array(json),
  affinity: json,
  priorityClassName: z.string(),
  args: z.array(z.string()),
} as const;

export type WaypointOptions = {
  readonly [Key in keyof typeof keys]: z.output<(typeof keys)[Key]> | null;
};

export const noOptions: WaypointOptions = {
  replicas: null,
  autoscaling: null,
  resources: null,
  nodeSelector: null,
  tolerations: null,
  affinity: null,
  priorityClassName: null,
  args: null,
};

/** The options in the data of a ConfigMap, and what is wrong with it; with a problem none of it counts. */
export function waypointOptions(data: Readonly<Record<string, string>>): {
  readonly options: WaypointOptions;
  readonly problems: readonly string[];
} {
  const found: Record<string, unknown> = { ...noOptions };
  const problems: string[] = [];
  for (const [key, text] of Object.entries(data)) {
    if (!isKey(key)) {
      problems.push(`${key}: no such option; there are ${Object.keys(keys).join(', ')}`);
      continue;
    }
    let value: unknown;
    try {
      value = parse(text);
    } catch {
      problems.push(`${key}: is no YAML`);
      continue;
    }
    const checked = keys[key].safeParse(value);
    if (checked.success) found[key] = checked.data;
    else {
      for (const { path, message } of checked.error.issues)
        problems.push(`${[key, ...path].join('.')}: ${message}`);
    }
  }
  const options = found as unknown as WaypointOptions;
  if (options.replicas !== null && options.autoscaling !== null)
    problems.push('replicas: not beside autoscaling, which decides it');
  return { options: problems.length === 0 ? options : noOptions, problems };
}

function isKey(key: string): key is keyof typeof keys {
  return Object.hasOwn(keys, key);
}
