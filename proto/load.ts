/**
 * Reads .proto files at start and gives encoders, decoders and gRPC method definitions made from them: no generated code.
 *
 * `loadProtocol` serves any file of this folder; `protocols` are those of the mesh. Names are camelCase, 64-bit integers
 * are numbers (exact up to 2^53), bytes are Buffers, and a decoder takes fields and enumeration values it has never
 * heard of, as protocol buffers want it.
 */
import { join } from 'node:path';
import type { MethodDefinition } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import type * as wire from './messages.ts';

// Without a class for 64-bit integers protobufjs makes numbers; what the mesh counts in 64 bits is seconds.
protobuf.util.Long = null as never;
protobuf.configure();

/** A message as one writes it: what is left out has its default. */
export type Sparse<T> = T extends Buffer
  ? T
  : T extends readonly (infer Item)[]
    ? readonly Sparse<Item>[]
    : T extends object
      ? { readonly [Key in keyof T]?: Sparse<T[Key]> | undefined }
      : T;

/** Both directions of one message type. */
export interface Codec<T> {
  /** With its package, as it stands in a type URL behind `type.googleapis.com/`. */
  readonly fullName: string;
  /** Canonical proto3: fields in the order of their numbers, defaults left out. Throws on values of a wrong type. */
  encode(message: Sparse<T>): Buffer;
  /**
   * Defaults are inherited, so a spread of the result lacks them. Buffers in it are views of `bytes`. Throws on what is
   * no such message.
   */
  decode(bytes: Uint8Array): T;
  /** The message with its defaults, for those who take whole messages (a gRPC call). */
  create(message: Sparse<T>): T;
}

/** The values of an enumeration; null for what it does not have. */
export interface Enumeration {
  number(name: string): number | null;
  name(number: number): string | null;
}

export interface Protocol {
  /** Names are full ones. All four throw for what the files don't define. */
  message<T extends object>(name: string): Codec<T>;
  enumeration(name: string): Enumeration;
  method<Request extends object, Response extends object>(
    service: string,
    name: string,
  ): MethodDefinition<Request, Response>;
  /** Which of the fields of a message are messages, by field number; null for others. */
  fields(name: string): ReadonlyMap<number, string | null>;
}

/** Reads files of this folder, with what they import (of this folder, or google/protobuf). Takes milliseconds. */
export function loadProtocol(...files: readonly string[]): Protocol {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => join(import.meta.dirname, target);
  for (const file of files) root.loadSync(file);
  root.resolveAll();
  correctDefaults(root);
  return {
    message: name => codecOf(root.lookupType(name)),
    enumeration: name => enumerationOf(root.lookupEnum(name)),
    method: (service, name) => methodOf(root, service, name),
    fields: name => new Map(root.lookupType(name).fieldsArray.map(field => [field.id, messageOf(field)])),
  };
}

const noBytes = Buffer.alloc(0);

/** protobufjs has an empty text for an absent text of a oneof, and an array for absent bytes. */
function correctDefaults(namespace: protobuf.NamespaceBase): void {
  for (const nested of namespace.nestedArray) {
    if (nested instanceof protobuf.Type) {
      const defaults = nested.ctor.prototype as Record<string, unknown>;
      for (const field of nested.fieldsArray) {
        if (field.partOf !== null) defaults[field.name] = null;
        else if (field.type === 'bytes' && !field.repeated) defaults[field.name] = noBytes;
      }
    }
    if (nested instanceof protobuf.Namespace) correctDefaults(nested);
  }
}

function codecOf<T extends object>(type: protobuf.Type): Codec<T> {
  const decoded = type.setup();
  return {
    fullName: type.fullName.slice(1),
    encode: message => type.encode(compact(type, message)).finish() as Buffer,
    decode: bytes => decoded.decode(new StrictReader(bufferOf(bytes))) as unknown as T,
    create: message => type.create(message) as unknown as T,
  };
}

/** Refuses a text that is cut off, where protobufjs gives what there is of it. */
class StrictReader extends protobuf.BufferReader {
  override string(): string {
    const length = this.uint32();
    const start = this.pos;
    if (start + length > this.len) throw new RangeError(`a text of ${length} bytes is cut off`);
    this.pos = start + length;
    return (this.buf as Buffer).toString('utf8', start, this.pos);
  }
}

/** protobufjs copies bytes out of a Uint8Array and takes views of a Buffer. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A copy without fields that say their default: protobufjs writes whatever an object has. */
function compact(type: protobuf.Type, message: object): Record<string, unknown> {
  const given = message as Readonly<Record<string, unknown>>;
  const result: Record<string, unknown> = {};
  for (const field of type.fieldsArray) {
    const value = given[field.name];
    if (value === undefined || value === null) continue;
    const child = field.resolvedType instanceof protobuf.Type ? field.resolvedType : null;
    if (field.map) {
      result[field.name] = compactMap(child, value as Readonly<Record<string, unknown>>);
    } else if (field.repeated) {
      const items = value as readonly unknown[];
      result[field.name] = child === null ? items : items.map(item => compact(child, item as object));
    } else if (child !== null) {
      result[field.name] = compact(child, value);
    } else if (field.partOf !== null || !isDefault(value)) {
      result[field.name] = value;
    }
  }
  return result;
}

/** Sorted, so that equal messages are equal bytes. */
function compactMap(
  child: protobuf.Type | null,
  entries: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const sorted = Object.entries(entries).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(
    child === null ? sorted : sorted.map(([key, value]) => [key, compact(child, value as object)]),
  );
}

function isDefault(value: unknown): boolean {
  return value === '' || value === 0 || value === false || (Buffer.isBuffer(value) && value.length === 0);
}

function enumerationOf(type: protobuf.Enum): Enumeration {
  return {
    number: name => (Object.hasOwn(type.values, name) ? (type.values[name] ?? null) : null),
    name: number => type.valuesById[number] ?? null,
  };
}

function messageOf(field: protobuf.Field): string | null {
  return field.resolvedType instanceof protobuf.Type ? field.resolvedType.fullName.slice(1) : null;
}

function methodOf<Request extends object, Response extends object>(
  root: protobuf.Root,
  serviceName: string,
  name: string,
): MethodDefinition<Request, Response> {
  const method = root.lookupService(serviceName).methods[name];
  if (method === undefined) throw new Error(`no such method: ${serviceName}/${name}`);
  method.resolve();
  const request = codecOf<Request>(
    root.lookupType(method.resolvedRequestType?.fullName ?? method.requestType),
  );
  const response = codecOf<Response>(
    root.lookupType(method.resolvedResponseType?.fullName ?? method.responseType),
  );
  return {
    path: `/${serviceName}/${name}`,
    requestStream: method.requestStream ?? false,
    responseStream: method.responseStream ?? false,
    requestSerialize: message => request.encode(message as Sparse<Request>),
    requestDeserialize: bytes => request.decode(bytes),
    responseSerialize: message => response.encode(message as Sparse<Response>),
    responseDeserialize: bytes => response.decode(bytes),
    originalName: name.charAt(0).toLowerCase() + name.slice(1),
  };
}

const mesh = loadProtocol(
  'workload.proto',
  'authorization.proto',
  'discovery.proto',
  'ca.proto',
  'mesh.proto',
);

/** The protocols between agents and control planes. Services are definitions for `grpc.Server.addService`. */
export const protocols = {
  schema: mesh,
  address: mesh.message<wire.WireAddress>('istio.workload.Address'),
  workload: mesh.message<wire.WireWorkload>('istio.workload.Workload'),
  service: mesh.message<wire.WireService>('istio.workload.Service'),
  authorization: mesh.message<wire.WireAuthorization>('istio.security.Authorization'),
  settings: mesh.message<wire.WireSettings>('culvert.mesh.v1.Settings'),
  nodePod: mesh.message<wire.WireNodePod>('culvert.mesh.v1.NodePod'),
  waypointResource: mesh.message<wire.WireWaypointResource>('culvert.mesh.v1.WaypointResource'),
  waypointCredential: mesh.message<wire.WireWaypointResource>('culvert.mesh.v1.WaypointCredential'),
  sessionAffinity: mesh.message<wire.WireSessionAffinity>('culvert.mesh.v1.SessionAffinity'),
  any: mesh.message<wire.WireAny>('envoy.service.discovery.v3.Any'),
  nodeReport: mesh.message<wire.WireNodeReport>('culvert.mesh.v1.NodeReport'),
  reportReply: mesh.message<wire.WireReportReply>('culvert.mesh.v1.ReportReply'),
  deltaRequest: mesh.message<wire.WireDeltaRequest>('envoy.service.discovery.v3.DeltaDiscoveryRequest'),
  deltaResponse: mesh.message<wire.WireDeltaResponse>('envoy.service.discovery.v3.DeltaDiscoveryResponse'),
  certificateRequest: mesh.message<wire.WireCertificateRequest>('istio.v1.auth.IstioCertificateRequest'),
  certificateResponse: mesh.message<wire.WireCertificateResponse>('istio.v1.auth.IstioCertificateResponse'),
  services: {
    discovery: {
      DeltaAggregatedResources: mesh.method<wire.WireDeltaRequest, wire.WireDeltaResponse>(
        'envoy.service.discovery.v3.AggregatedDiscoveryService',
        'DeltaAggregatedResources',
      ),
    },
    certificates: {
      CreateCertificate: mesh.method<wire.WireCertificateRequest, wire.WireCertificateResponse>(
        'istio.v1.auth.IstioCertificateService',
        'CreateCertificate',
      ),
    },
    nodeReports: {
      Report: mesh.method<wire.WireNodeReport, wire.WireReportReply>('culvert.mesh.v1.NodeReports', 'Report'),
    },
  },
} as const;
