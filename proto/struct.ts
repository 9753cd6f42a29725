/** google.protobuf.Struct, the JSON of protocol buffers: node metadata and the metadata of certificate requests. */
import type { WireStruct, WireValue } from './messages.ts';

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

export function toStruct(object: JsonObject): WireStruct {
  return { fields: Object.fromEntries(Object.entries(object).map(([key, value]) => [key, toValue(value)])) };
}

/** Values without a kind, as a newer peer may send, are null. */
export function fromStruct(struct: WireStruct): JsonObject {
  return Object.fromEntries(Object.entries(struct.fields).map(([key, value]) => [key, fromValue(value)]));
}

const unset: WireValue = {
  nullValue: null,
  numberValue: null,
  stringValue: null,
  boolValue: null,
  structValue: null,
  listValue: null,
};

function toValue(json: Json): WireValue {
  if (json === null) return { ...unset, nullValue: 0 };
  if (typeof json === 'number') return { ...unset, numberValue: json };
  if (typeof json === 'string') return { ...unset, stringValue: json };
  if (typeof json === 'boolean') return { ...unset, boolValue: json };
  if (isList(json)) return { ...unset, listValue: { values: json.map(toValue) } };
  return { ...unset, structValue: toStruct(json) };
}

function fromValue(value: WireValue): Json {
  if (value.structValue !== null) return fromStruct(value.structValue);
  if (value.listValue !== null) return value.listValue.values.map(fromValue);
  return value.numberValue ?? value.stringValue ?? value.boolValue;
}

function isList(json: Json): json is readonly Json[] {
  return Array.isArray(json);
}
