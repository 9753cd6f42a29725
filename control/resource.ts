/**
 * One resource as clients get it: encoded once, whoever receives it.
 *
 * Field numbers are those of `envoy.service.discovery.v3`: Resource version 1, resource (Any) 2, name 3, aliases 4, and 2
 * for a resource inside a DeltaDiscoveryResponse.
 */
import { hash } from 'node:crypto';
import protobuf from 'protobufjs/minimal.js';

/**
 * A field of a response, its bytes as latin-1 text: V8 keeps a short text in half of what a Buffer of its own takes, and a
 * large cluster has a hundred thousand.
 */
export type Frame = string;

/** What somebody offers under a name. */
export interface Offer {
  readonly name: string;
  /** The encoded message. Equal content must be equal bytes, or clients hear of changes that are none. */
  readonly content: Uint8Array;
  /** Other names it may be asked for by: `<network>/<ip>`. */
  readonly aliases?: readonly string[];
  /** Names of what it is a part of: who asks for one of these by name gets this too (the services of a workload). */
  readonly partOf?: readonly string[];
  /** The node it is on, or the waypoint that alone may have it; null for none. */
  readonly node?: string | null;
}

export interface Resource {
  readonly name: string;
  /** Of its last change; later changes have higher numbers. */
  sequence: number;
  /** Of the change that brought it into being. */
  since: number;
  /** Of its content, the same in every replica. */
  version: string;
  /** The field of a response that holds it; null once it is gone. */
  frame: Frame | null;
  aliases: readonly string[];
  partOf: readonly string[];
  node: string | null;
}

const { Writer } = protobuf;
/** Field 2 and field 4, length-delimited. */
const frameTag = 0x12;
const aliasTag = 0x22;
// 72 bits; only ever compared with other contents of the same name.
const versionLength = 12;

/** Text that changes with the content and with nothing else. */
export function versionOf(content: Uint8Array): string {
  return hash('sha256', content, 'base64url').slice(0, versionLength);
}

/** Encodes the `resources` field of a response, tag included. */
export function frameOf(typeUrl: string, offer: Offer, version: string): Frame {
  const writer = Writer.create().uint32(frameTag).fork();
  writer.uint32(0x0a).string(version);
  writer.uint32(0x12).fork();
  writer.uint32(0x0a).string(typeUrl).uint32(0x12).bytes(offer.content);
  writer.ldelim();
  writer.uint32(0x1a).string(offer.name);
  return frameText(writer.ldelim().finish());
}

/** The same with its aliases, for clients that ask by them. */
export function frameWithAliases(resource: Resource): Frame | null {
  if (resource.frame === null || resource.aliases.length === 0) return resource.frame;
  const aliases = Writer.create();
  for (const alias of resource.aliases) aliases.uint32(aliasTag).string(alias);
  const reader = protobuf.Reader.create(Buffer.from(resource.frame, 'latin1'));
  reader.uint32();
  const body = reader.bytes();
  const added = aliases.finish();
  const head = Writer.create()
    .uint32(frameTag)
    .uint32(body.length + added.length)
    .finish();
  return frameText(head) + frameText(body) + frameText(added);
}

function frameText(bytes: Uint8Array): Frame {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
