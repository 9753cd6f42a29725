/**
 * How the schemas of Kubernetes kinds are written: every member we read has a schema, every other member Kubernetes
 * defines is listed by name and dropped. So `kubectl get -o yaml` output passes in silence, a misspelt field does not,
 * and what stays in memory is only what the mesh reads.
 */
import * as z from 'zod';

/** One for all of the hundreds of members: a schema takes some kilobytes. */
const anything = z.unknown().optional();

/**
 * A struct of which `shape` is read and the members named in `ignored` are accepted and dropped.
 * Anything else is an unrecognised key.
 */
export function struct<Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
  ignored: readonly string[],
): z.ZodType<z.output<z.ZodObject<Shape>>> {
  const members = Object.fromEntries(ignored.map(name => [name, anything]));
  const read = Object.keys(shape);
  const pick = (value: Record<string, unknown>): Record<string, unknown> => {
    const picked: Record<string, unknown> = {};
    for (const name of read) if (value[name] !== undefined) picked[name] = value[name];
    return picked;
  };
  // The transform leaves exactly the members of `shape`, which the compiler cannot see through the merged shape.
  return z.strictObject({ ...members, ...shape }).transform(pick) as unknown as z.ZodType<
    z.output<z.ZodObject<Shape>>
  >;
}

/** An integer, or the name of a port; Kubernetes writes both into one field (IntOrString). */
export const intOrString = z.union([z.int(), z.string()]);

/** A TCP or UDP port number, 1–65535. */
export const portNumber = z.int().min(1).max(65_535);
