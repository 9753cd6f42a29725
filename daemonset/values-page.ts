/** docs/chart-values.md: every value with its default and what it is for, from the schema. */
import * as z from 'zod';
import { type Json, isRecord, valueAt } from './template.ts';
import { defaultValues, valuesSchema } from './values.ts';

export interface DescribedValue {
  /** In values.yaml, such as `agent.resources`. */
  readonly path: string;
  readonly description: string;
  /** An object of values that have descriptions of their own. */
  readonly isSection: boolean;
}

/** Every value in the order of values.yaml. */
export function described(): DescribedValue[] {
  return below(z.toJSONSchema(valuesSchema, { io: 'input' }) as Json, '');
}

/** `mesh` holds the members of another kind, which docs/yaml.md describes. */
const leaves = new Set(['mesh']);

function below(schema: Json, path: string): DescribedValue[] {
  const properties = member(schema, 'properties');
  if (!isRecord(properties)) return [];
  return Object.keys(properties).flatMap(name => {
    const child = properties[name] ?? null;
    const at = path === '' ? name : `${path}.${name}`;
    const description = member(child, 'description');
    const inner = leaves.has(at) || !hasDescriptions(child) ? [] : below(child, at);
    const own = {
      path: at,
      description: typeof description === 'string' ? description : '',
      isSection: inner.length > 0,
    };
    return [own, ...inner];
  });
}

function hasDescriptions(schema: Json): boolean {
  const properties = member(schema, 'properties');
  return (
    isRecord(properties) && Object.values(properties).some(it => member(it, 'description') !== undefined)
  );
}

function member(schema: Json, name: string): Json | undefined {
  return isRecord(schema) ? schema[name] : undefined;
}

export function valuesPage(): string {
  const lines = described().map(({ path, description, isSection }) => {
    if (isSection) return `\n## \`${path}\`\n\n${description}\n\n${head}`;
    return `| \`${path}\` | ${standard(path)} | ${description} |`;
  });
  // Values that belong to no section come first, in a table of their own.
  const sections = described().filter(({ isSection }) => isSection);
  const loose = described().filter(
    ({ path, isSection }) => !isSection && !sections.some(section => path.startsWith(`${section.path}.`)),
  );
  const rows = loose.map(({ path, description }) => `| \`${path}\` | ${standard(path)} | ${description} |`);
  const looseLines = new Set(rows);
  return `${intro}\n${head}\n${rows.join('\n')}\n${lines.filter(line => !looseLines.has(line)).join('\n')}\n`;
}

const head = '| value | default | |\n|---|---|---|';

const intro = `# Values of the chart

Generated from daemonset/values.ts. For Helm they are values (\`--set agent.resources.limits.memory=2Gi\`, or a file), for
\`culvert install\` options (\`--set\` as well). Kustomize overlays patch the objects instead. A value that does not exist, or of the
wrong kind, is refused.
`;

function standard(path: string): string {
  const found = valueAt(defaultValues as Json, path);
  return `\`${typeof found === 'string' ? found : JSON.stringify(found)}\``;
}
