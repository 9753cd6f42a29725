/**
 * The CustomResourceDefinitions of the group culvert.dev, each from the schema of its kind in model/kinds/.
 */
import type * as z from 'zod';
import { authorizationPolicySpec } from '../model/kinds/authorization-policy.ts';
import { destinationRuleSpec } from '../model/kinds/destination-rule.ts';
import { faultInjectionSpec } from '../model/kinds/fault-injection.ts';
import { meshConfigName, meshConfigSpec } from '../model/kinds/mesh-config.ts';
import { peerAuthenticationSpec } from '../model/kinds/peer-authentication.ts';
import { rateLimitSpec } from '../model/kinds/rate-limit.ts';
import { requestAuthenticationSpec } from '../model/kinds/request-authentication.ts';
import { serviceEntrySpec } from '../model/kinds/service-entry.ts';
import { telemetrySpec } from '../model/kinds/telemetry.ts';
import { virtualServiceSpec } from '../model/kinds/virtual-service.ts';
import { workloadEntrySpec } from '../model/kinds/workload-entry.ts';
import { type Structural, structuralSchema } from './structural.ts';

const group = 'culvert.dev';

interface Column {
  readonly name: string;
  readonly type: 'string' | 'date';
  readonly jsonPath: string;
  readonly description: string;
  /** Columns above 0 are only shown with `-o wide`. */
  readonly priority?: number;
}

/** The condition every object of the mesh has, written by the control plane. */
const accepted: Column = {
  name: 'Accepted',
  type: 'string',
  jsonPath: '.status.conditions[?(@.type=="Accepted")].status',
  description: 'Whether it is in force.',
};
/** The condition policies have besides: what nodes do not do as it is written is in its message. */
const enforced: Column = {
  name: 'Enforced',
  type: 'string',
  jsonPath: '.status.conditions[?(@.type=="Enforced")].status',
  description: 'Whether all of it is enforced, everywhere.',
};
const acceptedWhy: Column = {
  name: 'Reason',
  type: 'string',
  jsonPath: '.status.conditions[?(@.type=="Accepted")].reason',
  description: 'Why it is in force, or not.',
  priority: 1,
};

interface Definition {
  readonly kind: string;
  readonly plural: string;
  readonly shortName: string;
  readonly scope: 'Namespaced' | 'Cluster';
  readonly description: string;
  readonly spec: z.ZodType;
  /** Rules about the whole object, for what is not in its spec. */
  readonly validations: readonly { readonly rule: string; readonly message: string }[];
  /** Whether an object says nothing without a spec, or has a spec of defaults. */
  readonly specRequired: boolean;
  readonly columns: readonly Column[];
}

const definitions: readonly Definition[] = [
  {
    kind: 'AuthorizationPolicy',
    plural: 'authorizationpolicies',
    shortName: 'cvap',
    scope: 'Namespaced',
    description: 'Who may connect to which workloads.',
    spec: authorizationPolicySpec,
    validations: [],
    specRequired: true,
    columns: [
      { name: 'Action', type: 'string', jsonPath: '.spec.action', description: 'What a match means.' },
      accepted,
      enforced,
      acceptedWhy,
    ],
  },
  {
    kind: 'Telemetry',
    plural: 'telemetries',
    shortName: 'cvtel',
    scope: 'Namespaced',
    description: 'What waypoints tell about requests: spans, metrics and access lines.',
    spec: telemetrySpec,
    validations: [],
    specRequired: false,
    columns: [accepted, acceptedWhy],
  },
  {
    kind: 'VirtualService',
    plural: 'virtualservices',
    shortName: 'cvvs',
    scope: 'Namespaced',
    description: 'How the requests to hosts are routed.',
    spec: virtualServiceSpec,
    validations: [],
    specRequired: false,
    columns: [
      { name: 'Hosts', type: 'string', jsonPath: '.spec.hosts', description: 'Which hosts.' },
      accepted,
      acceptedWhy,
    ],
  },
  {
    kind: 'PeerAuthentication',
    plural: 'peerauthentications',
    shortName: 'cvpa',
    scope: 'Namespaced',
    description: 'Whether workloads take connections that carry no identity.',
    spec: peerAuthenticationSpec,
    validations: [],
    specRequired: false,
    columns: [
      { name: 'Mode', type: 'string', jsonPath: '.spec.mtls.mode', description: 'The mode of all ports.' },
      accepted,
      enforced,
      acceptedWhy,
    ],
  },
  {
    kind: 'RequestAuthentication',
    plural: 'requestauthentications',
    shortName: 'cvra',
    scope: 'Namespaced',
    description: 'Whose tokens the requests to what a waypoint serves may carry.',
    spec: requestAuthenticationSpec,
    validations: [],
    specRequired: true,
    columns: [accepted, enforced, acceptedWhy],
  },
  {
    kind: 'ServiceEntry',
    plural: 'serviceentries',
    shortName: 'cvse',
    scope: 'Namespaced',
    description: 'A service that no Service of Kubernetes describes.',
    spec: serviceEntrySpec,
    validations: [],
    specRequired: true,
    columns: [
      { name: 'Hosts', type: 'string', jsonPath: '.spec.hosts', description: 'Its names.' },
      {
        name: 'Resolution',
        type: 'string',
        jsonPath: '.spec.resolution',
        description: 'How its endpoints are found.',
      },
      accepted,
      {
        name: 'Addresses',
        type: 'string',
        jsonPath: '.spec.addresses',
        description: 'Its virtual addresses.',
        priority: 1,
      },
      acceptedWhy,
    ],
  },
  {
    kind: 'WorkloadEntry',
    plural: 'workloadentries',
    shortName: 'cvwe',
    scope: 'Namespaced',
    description: 'Something outside the cluster that Services and ServiceEntries choose by its labels.',
    spec: workloadEntrySpec,
    validations: [],
    specRequired: true,
    columns: [
      { name: 'Address', type: 'string', jsonPath: '.spec.address', description: 'Where it is.' },
      accepted,
      acceptedWhy,
    ],
  },
  {
    kind: 'DestinationRule',
    plural: 'destinationrules',
    shortName: 'cvdr',
    scope: 'Namespaced',
    description: 'How waypoints treat the endpoints of a service.',
    spec: destinationRuleSpec,
    validations: [],
    specRequired: true,
    columns: [
      { name: 'Host', type: 'string', jsonPath: '.spec.host', description: 'The service.' },
      accepted,
      acceptedWhy,
    ],
  },
  {
    kind: 'FaultInjection',
    plural: 'faultinjections',
    shortName: 'cvfi',
    scope: 'Namespaced',
    description: 'Failures that a waypoint makes, for tests of those who call.',
    spec: faultInjectionSpec,
    validations: [],
    specRequired: true,
    columns: [accepted, acceptedWhy],
  },
  {
    kind: 'RateLimit',
    plural: 'ratelimits',
    shortName: 'cvrl',
    scope: 'Namespaced',
    description: 'How many requests waypoints let through.',
    spec: rateLimitSpec,
    validations: [],
    specRequired: true,
    columns: [accepted, acceptedWhy],
  },
  {
    kind: 'MeshConfig',
    plural: 'meshconfigs',
    shortName: 'cvmc',
    scope: 'Cluster',
    description: 'The settings of the whole mesh.',
    spec: meshConfigSpec,
    validations: [
      {
        rule: `self.metadata.name == '${meshConfigName}'`,
        message: `the only MeshConfig is named ${meshConfigName}`,
      },
    ],
    specRequired: false,
    columns: [
      {
        name: 'Trust-Domain',
        type: 'string',
        jsonPath: '.spec.trustDomain',
        description: 'First part of every identity.',
      },
      {
        name: 'Root-Namespace',
        type: 'string',
        jsonPath: '.spec.rootNamespace',
        description: 'Whose policies are for the whole mesh.',
        priority: 1,
      },
      accepted,
    ],
  },
];

/** The definitions by file name, as plain data in the order in which they are written. */
export function customResourceDefinitions(): ReadonlyMap<string, object> {
  return new Map(definitions.map(definition => [`${definition.plural}.yaml`, resource(definition)]));
}

function resource(definition: Definition): object {
  const { kind, plural, shortName, scope, columns } = definition;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}`, labels: { 'app.kubernetes.io/part-of': 'culvert' } },
    spec: {
      group,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames: [shortName],
        categories: ['culvert'],
      },
      scope,
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: [
            ...columns,
            {
              name: 'Age',
              type: 'date',
              jsonPath: '.metadata.creationTimestamp',
              description: 'Since when.',
            },
          ],
          schema: { openAPIV3Schema: objectSchema(definition) },
        },
      ],
    },
  };
}

function objectSchema({ kind, description, spec, validations, specRequired }: Definition): Structural {
  return {
    type: 'object',
    description,
    ...(specRequired ? { required: ['spec'] } : {}),
    ...(validations.length > 0 ? { 'x-kubernetes-validations': validations } : {}),
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { type: 'object' },
      spec: structuralSchema(spec),
      status: statusSchema(kind === 'ServiceEntry' ? { addresses } : {}),
    },
  };
}

/** What the control plane writes back: the conditions every Kubernetes tool knows how to wait for. */
const statusSchema = (more: Readonly<Record<string, Structural>>): Structural => ({
  type: 'object',
  description: 'What became of it; written by the control plane.',
  properties: {
    ...more,
    conditions: {
      type: 'array',
      maxItems: 16,
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['type'],
      items: {
        type: 'object',
        required: ['type', 'status', 'lastTransitionTime', 'reason', 'message'],
        properties: {
          lastTransitionTime: { type: 'string', format: 'date-time' },
          message: { type: 'string', maxLength: 32_768 },
          observedGeneration: { type: 'integer', format: 'int64', minimum: 0 },
          reason: { type: 'string', minLength: 1, maxLength: 1024 },
          status: { type: 'string', enum: ['True', 'False', 'Unknown'] },
          type: { type: 'string', maxLength: 316 },
        },
      },
    },
    observedGeneration: { type: 'integer', format: 'int64', minimum: 0 },
  },
});

/** Of ServiceEntries. */
const addresses: Structural = {
  type: 'array',
  maxItems: 512,
  description: 'Addresses that were given to hosts without one.',
  items: {
    type: 'object',
    required: ['value'],
    properties: {
      host: { type: 'string', maxLength: 253 },
      value: { type: 'string', maxLength: 45 },
    },
  },
};
