/**
 * Which workloads take connections without an identity: PeerAuthentication, turned into DENY policies for nodes.
 *
 * Narrow wins: a port of a selected workload, the workload, its namespace, the mesh (the root namespace). Of several
 * objects on one level the oldest counts. The policies carry the names istiod gives them, so that a node cannot tell
 * which control plane it has. A mode of a port is about the workload's own port.
 */
import { parsePort } from './address.ts';
import { emptyMatch } from './authorization-attributes.ts';
import { policyKey } from './policy.ts';
import type { Authorization, Clause, Match } from './policy.ts';
import { selects } from './workload.ts';

export type MtlsMode = 'UNSET' | 'DISABLE' | 'PERMISSIVE' | 'STRICT';

/** The spec as in `security.istio.io/v1`, checked for structure before. */
export interface PeerAuthenticationSpec {
  readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> | undefined } | undefined;
  readonly mtls?: { readonly mode?: MtlsMode | undefined } | undefined;
  /** By port of the workload. */
  readonly portLevelMtls?: Readonly<Record<string, { readonly mode?: MtlsMode | undefined }>> | undefined;
}

export interface PeerAuthenticationInput {
  readonly name: string;
  readonly namespace: string;
  /** RFC 3339; null (an object of a directory) counts as older than any. */
  readonly creationTimestamp: string | null;
  readonly spec: PeerAuthenticationSpec;
}

/** The part of a workload that selectors see. */
export interface LabelledWorkload {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** The codes are unsupported-value, not-applied, invalid-value. */
export interface PeerAuthenticationFinding {
  readonly severity: 'error' | 'warning' | 'info';
  readonly code: string;
  /** `namespace/name` of the PeerAuthentication. */
  readonly object: string;
  readonly field: string;
  readonly message: string;
}

export type EffectiveMode = 'STRICT' | 'PERMISSIVE';

export interface PeerAuthenticationResult {
  readonly policies: readonly Authorization[];
  /** Keys of `policies` that belong into `Workload.authorizationPolicies`. */
  readonly namesFor: (workload: LabelledWorkload) => readonly string[];
  readonly modeFor: (workload: LabelledWorkload, port: number) => EffectiveMode;
  readonly findings: readonly PeerAuthenticationFinding[];
}

const staticStrictName = 'istio_converted_static_strict';
const convertedPrefix = 'converted_peer_authentication_';

/** Puts all PeerAuthentications of the mesh together; `rootNamespace` is the one whose objects are for the whole mesh. */
export function peerAuthenticationPolicies(
  all: readonly PeerAuthenticationInput[],
  rootNamespace: string,
): PeerAuthenticationResult {
  const findings: PeerAuthenticationFinding[] = [];
  const ofNamespace = new Map<string, PeerAuthenticationInput>();
  const ofWorkloads = new Map<string, PeerAuthenticationInput[]>();
  for (const object of [...all].sort(byAge)) {
    findings.push(...problems(object));
    const { namespace } = object;
    if (selectorOf(object) !== null) {
      if (namespace === rootNamespace) findings.push(selectorInRoot(object));
      else ofWorkloads.set(namespace, [...(ofWorkloads.get(namespace) ?? []), object]);
    } else {
      const older = ofNamespace.get(namespace);
      if (older === undefined) ofNamespace.set(namespace, object);
      else findings.push(shadowed(object, older));
    }
  }

  const baseOf = (namespace: string): EffectiveMode =>
    inherit(ofNamespace.get(namespace), inherit(ofNamespace.get(rootNamespace), 'PERMISSIVE'));
  const settingsOf = (object: PeerAuthenticationInput): Settings => {
    const base = inherit(object, baseOf(object.namespace));
    return { base, exceptions: exceptionsOf(object, base) };
  };
  const objectFor = ({ namespace, labels }: LabelledWorkload): PeerAuthenticationInput | null =>
    ofWorkloads.get(namespace)?.find(object => selects(selectorOf(object) ?? {}, labels)) ?? null;

  const strict = deny(rootNamespace, staticStrictName, [
    [{ ...emptyMatch(), notPrincipals: [{ kind: 'presence' }] }],
  ]);
  const converted = new Map<PeerAuthenticationInput, Authorization>();
  for (const object of [...ofWorkloads.values()].flat()) {
    const settings = settingsOf(object);
    if (settings.exceptions.length > 0) converted.set(object, convert(object, settings));
  }
  return {
    policies: all.length === 0 ? [] : [strict, ...converted.values()],
    namesFor: workload => {
      const object = objectFor(workload);
      const policy = object === null ? undefined : converted.get(object);
      if (policy !== undefined) return [policyKey(policy)];
      const base = object === null ? baseOf(workload.namespace) : settingsOf(object).base;
      return base === 'STRICT' ? [policyKey(strict)] : [];
    },
    modeFor: (workload, port) => {
      const object = objectFor(workload);
      if (object === null) return baseOf(workload.namespace);
      const { base, exceptions } = settingsOf(object);
      return exceptions.includes(port) ? opposite(base) : base;
    },
    findings,
  };
}

interface Settings {
  readonly base: EffectiveMode;
  /** Ports, in order, that have the other mode. */
  readonly exceptions: readonly number[];
}

/** The mode of an object, or that of the wider scope where it has none. */
function inherit(object: PeerAuthenticationInput | undefined, wider: EffectiveMode): EffectiveMode {
  return effective(object?.spec.mtls?.mode, wider);
}

/** Nodes take what comes through a tunnel in any mode, so DISABLE can only mean that plaintext is welcome too. */
function effective(mode: MtlsMode = 'UNSET', wider: EffectiveMode): EffectiveMode {
  if (mode === 'UNSET') return wider;
  return mode === 'STRICT' ? 'STRICT' : 'PERMISSIVE';
}

function opposite(mode: EffectiveMode): EffectiveMode {
  return mode === 'STRICT' ? 'PERMISSIVE' : 'STRICT';
}

/** In order, since integers are the keys of an object in ascending order. */
function exceptionsOf({ spec }: PeerAuthenticationInput, base: EffectiveMode): readonly number[] {
  return Object.entries(spec.portLevelMtls ?? {}).flatMap(([port, { mode }]) =>
    effective(mode, base) === base ? [] : (parsePort(port) ?? []),
  );
}

/**
 * STRICT but for some ports: denied is what has no identity and goes to none of them. PERMISSIVE but for some ports:
 * one rule for each denies what has no identity there.
 */
function convert(
  { namespace, name }: PeerAuthenticationInput,
  { base, exceptions }: Settings,
): Authorization {
  const plaintext: Match = { ...emptyMatch(), notPrincipals: [{ kind: 'presence' }] };
  const rules =
    base === 'STRICT'
      ? [[plaintext, ...exceptions.map(port => ({ ...emptyMatch(), notDestinationPorts: [port] }))]]
      : exceptions.map(port => [{ ...plaintext, destinationPorts: [port] }]);
  return deny(namespace, `${convertedPrefix}${name}`, rules);
}

/** A policy whose rules are lists of matches that must all hold. */
function deny(namespace: string, name: string, rules: readonly (readonly Match[])[]): Authorization {
  const clauses = (matches: readonly Match[]): readonly Clause[] =>
    matches.map(match => ({ matches: [match] }));
  return {
    name,
    namespace,
    scope: 'WORKLOAD_SELECTOR',
    action: 'DENY',
    rules: rules.map(matches => ({ clauses: clauses(matches) })),
    dryRun: false,
  };
}

/** Null if it is for all of its namespace; a selector without labels is none. */
function selectorOf({ spec }: PeerAuthenticationInput): Readonly<Record<string, string>> | null {
  const labels = spec.selector?.matchLabels ?? {};
  return Object.keys(labels).length === 0 ? null : labels;
}

function byAge(a: PeerAuthenticationInput, b: PeerAuthenticationInput): number {
  const age = created(a) - created(b);
  if (age !== 0) return age;
  return key(a) < key(b) ? -1 : 1;
}

function created({ creationTimestamp }: PeerAuthenticationInput): number {
  const time = creationTimestamp === null ? 0 : Date.parse(creationTimestamp);
  return Number.isNaN(time) ? 0 : time;
}

function key({ namespace, name }: PeerAuthenticationInput): string {
  return `${namespace}/${name}`;
}

function problems(object: PeerAuthenticationInput): readonly PeerAuthenticationFinding[] {
  const { spec } = object;
  const findings: PeerAuthenticationFinding[] = [];
  const disabled = (field: string): void => {
    const message = 'DISABLE is treated as PERMISSIVE: clients of the mesh still come through the tunnel';
    findings.push({ severity: 'warning', code: 'unsupported-value', object: key(object), field, message });
  };
  if (spec.mtls?.mode === 'DISABLE') disabled('spec.mtls.mode');
  const ports = Object.entries(spec.portLevelMtls ?? {});
  for (const [port, { mode }] of ports) {
    const field = `spec.portLevelMtls["${port}"]`;
    if (mode === 'DISABLE') disabled(`${field}.mode`);
    if (parsePort(port) !== null) continue;
    const message = `"${port}" is not a port number from 1 to 65535: it has no effect`;
    findings.push({ severity: 'error', code: 'invalid-value', object: key(object), field, message });
  }
  if (ports.length > 0 && selectorOf(object) === null) {
    const message = 'modes of ports need a selector with labels: they have no effect';
    findings.push({
      severity: 'error',
      code: 'not-applied',
      object: key(object),
      field: 'spec.portLevelMtls',
      message,
    });
  }
  return findings;
}

function selectorInRoot(object: PeerAuthenticationInput): PeerAuthenticationFinding {
  const message =
    'a PeerAuthentication of the root namespace with a selector has no effect: it is for the whole mesh or none';
  return { severity: 'error', code: 'not-applied', object: key(object), field: 'spec.selector', message };
}

function shadowed(
  object: PeerAuthenticationInput,
  older: PeerAuthenticationInput,
): PeerAuthenticationFinding {
  const message = `has no effect: ${key(older)} is older and for the same workloads`;
  return { severity: 'error', code: 'not-applied', object: key(object), field: 'metadata.name', message };
}
