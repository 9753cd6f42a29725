/**
 * From a zod schema to the structural schema a CustomResourceDefinition takes: the subset of OpenAPI 3 in which every
 * value has one type. What a schema can not say so is said in CEL, by `.meta({ 'x-kubernetes-validations': … })`.
 * https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
 */
import * as z from 'zod';

/** One node of a structural schema. */
export interface Structural {
  readonly type: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly [keyword: string]: unknown;
}

/** Keywords that are taken over as they are. */
const plainKeywords = [
  'description',
  'default',
  'enum',
  'format',
  'maxItems',
  'maxLength',
  'maxProperties',
  'maximum',
  'minItems',
  'minLength',
  'minProperties',
  'minimum',
  'pattern',
  'required',
  'x-kubernetes-validations',
  'x-kubernetes-list-type',
];
/** Keywords that are translated, or that mean nothing where unknown fields are pruned. */
const knownKeywords = new Set([...plainKeywords, 'type', 'properties', 'items', 'additionalProperties']);

/** Throws when the schema uses something a CustomResourceDefinition can not say. */
export function structuralSchema(schema: z.ZodType): Structural {
  return convert(z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input' }), 'spec');
}

type Json = Readonly<Record<string, unknown>>;

function convert(schema: Json, path: string): Structural {
  for (const keyword of Object.keys(schema)) {
    if (!knownKeywords.has(keyword))
      throw new Error(`${path}: ${keyword} is not possible in a structural schema`);
  }
  const { type } = schema;
  if (!isType(type)) throw new Error(`${path}: ${String(type)} is not one type`);
  const result: Record<string, unknown> = {};
  for (const keyword of plainKeywords) if (schema[keyword] !== undefined) result[keyword] = schema[keyword];
  if (type === 'array') result['items'] = convert(schema['items'] as Json, `${path}[]`);
  if (type === 'object') Object.assign(result, convertObject(schema, path));
  return { type, ...result };
}

/** An object has named properties, or values of one kind under any name: both at once is not possible. */
function convertObject({ properties, additionalProperties }: Json, path: string): Json {
  if (properties === undefined) {
    return { additionalProperties: convert(additionalProperties as Json, `${path}[*]`) };
  }
  const converted = Object.entries(properties as Record<string, Json>).map(
    ([name, property]) => [name, convert(property, `${path}.${name}`)] as const,
  );
  return { properties: Object.fromEntries(converted.toSorted(([a], [b]) => (a < b ? -1 : 1))) };
}

function isType(type: unknown): type is Structural['type'] {
  return ['object', 'array', 'string', 'integer', 'number', 'boolean'].some(known => known === type);
}
