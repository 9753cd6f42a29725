/**
 * CNI configuration as text: whether and where our plugin stands in it, with it and without it. Pure.
 *
 * A runtime takes the first file, by name, of `.conf`, `.conflist` and `.json` that it can read. One plugin alone
 * (`.conf`) becomes a list of plugins the way the CNI library does it: name and version go up, the plugin stays as it is.
 */
import { isDeepStrictEqual } from 'node:util';

export const pluginName = 'culvert-cni';

/** Our entry in a list; what the plugin reads is described in native/cni/culvert-cni.c. */
export interface PluginEntry {
  readonly type: typeof pluginName;
  readonly socket: string;
  readonly enrolledNamespaces: string;
  readonly timeoutMs: number;
}

type Json = Readonly<Record<string, unknown>>;

interface NetworkList extends Json {
  readonly cniVersion?: unknown;
  readonly name: string;
  readonly plugins: readonly Json[];
}

/** Versions of the specification that the plugin speaks. */
const versions: readonly unknown[] = ['0.3.1', '0.4.0', '1.0.0', '1.1.0'];

export type Insertion =
  | { readonly kind: 'already' }
  | { readonly kind: 'insert'; readonly text: string }
  | { readonly kind: 'impossible'; readonly why: string };

/** Files in the order in which a runtime considers them. */
export function configurationFiles(names: readonly string[]): string[] {
  return names.filter(name => /\.(conf|conflist|json)$/.test(name)).toSorted();
}

/** Whether a runtime would take this file, and so all others come too late. */
export function isConfiguration(name: string, text: string): boolean {
  return readList(name, text) !== null;
}

/** The name of the list that a file becomes: itself, or a `.conflist` where it is a plugin alone. */
export function listName(name: string): string {
  return name.replace(/\.(conf|json)$/, '.conflist');
}

/** The list with our entry as its last. */
export function withPlugin(name: string, text: string, entry: PluginEntry): Insertion {
  const list = readList(name, text);
  if (list === null) return { kind: 'impossible', why: 'it is no CNI configuration' };
  if (!versions.includes(list.cniVersion)) {
    return {
      kind: 'impossible',
      why: `its cniVersion is ${JSON.stringify(list.cniVersion) ?? 'missing'}, and ${pluginName} speaks ${versions.join(', ')}`,
    };
  }
  const others = list.plugins.filter(plugin => plugin['type'] !== pluginName);
  if (others.length === 0) return { kind: 'impossible', why: 'no plugin in it makes an interface' };
  if (name.endsWith('.conflist') && isDeepStrictEqual(list.plugins, [...others, entry]))
    return { kind: 'already' };
  return { kind: 'insert', text: format({ ...list, plugins: [...others, entry] }) };
}

/**
 * The list without our entry; null where it has none. `original` is the text from before, given back letter for letter
 * when nothing else has changed since.
 */
export function withoutPlugin(name: string, text: string, original: string | null): string | null {
  const list = readList(name, text);
  if (list === null || !list.plugins.some(plugin => plugin['type'] === pluginName)) return null;
  const stripped = { ...list, plugins: list.plugins.filter(plugin => plugin['type'] !== pluginName) };
  if (original !== null && isDeepStrictEqual(readList(name, original), stripped)) return original;
  return format(stripped);
}

function format(list: Json): string {
  return `${JSON.stringify(list, null, 2)}\n`;
}

/** Null for what a runtime would pass over. */
function readList(name: string, text: string): NetworkList | null {
  const value = parse(text);
  if (value === null || typeof value['name'] !== 'string') return null;
  if (name.endsWith('.conflist')) {
    const { plugins } = value;
    const good = Array.isArray(plugins) && plugins.length > 0 && plugins.every(isPlugin);
    return good ? (value as unknown as NetworkList) : null;
  }
  if (!isPlugin(value)) return null;
  return { cniVersion: value['cniVersion'], name: value['name'], plugins: [value] };
}

function parse(text: string): Json | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : null;
  } catch {
    return null;
  }
}

function isPlugin(value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof (value as Json)['type'] === 'string';
}
