/**
 * What every kind shares: object metadata, names, labels, annotations and label selectors, with the syntax rules of
 * Kubernetes (names: RFC 1123; labels: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/).
 */
import * as z from 'zod';
import { struct } from './struct.ts';

const labelPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const subdomainPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const qualifiedNamePattern = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const labelValuePattern = /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/;

/** A name of one DNS label: namespaces and Services. */
export const dnsLabel = z
  .string()
  .regex(
    labelPattern,
    'a name has lower-case letters, digits and - only, with a letter or digit at both ends',
  )
  .max(63, 'a name has at most 63 characters');

/** A name of one or more DNS labels: pods, service accounts, nodes, policies. */
export const dnsSubdomain = z
  .string()
  .regex(
    subdomainPattern,
    'a name has lower-case letters, digits, - and . only, with a letter or digit at both ends',
  )
  .max(253, 'a name has at most 253 characters');

/** The key of a label or annotation: `name` or `prefix.example/name`. */
export const qualifiedName = z.string().refine(isQualifiedName, 'a key is `name` or `dns.prefix/name`');

/** The value of a label; may be empty. */
export const labelValue = z
  .string()
  .regex(
    labelValuePattern,
    'a label value has letters, digits, -, _ and . only, with a letter or digit at both ends',
  )
  .max(63, 'a label value has at most 63 characters');

export const labels = z.record(qualifiedName, labelValue);

/** On the object that stands for a static pod: the UID by which its node knows the pod. */
export const mirrorAnnotation = 'kubernetes.io/config.mirror';

/** Annotations of the mesh, and that one; what other programs wrote (kubectl's last-applied and the like) is not kept. */
const annotations = z
  .record(qualifiedName, z.string())
  .transform(all =>
    Object.fromEntries(Object.entries(all).filter(([key]) => key === mirrorAnnotation || isMeshKey(key))),
  );

/** The domains, with their subdomains, whose annotations the mesh reads. */
const meshDomains = ['culvert.dev', 'istio.io'];

const ownerReference = struct(
  {
    apiVersion: z.string(),
    kind: z.string(),
    name: z.string(),
    controller: z.boolean().optional(),
  },
  ['uid', 'blockOwnerDeletion'],
);

/** Object metadata. `namespace` is absent on cluster-scoped objects and stands for `default` on others. */
export function metadata(name: z.ZodType<string>) {
  return struct(
    {
      name,
      namespace: dnsLabel.optional(),
      uid: z.string().optional(),
      labels: labels.default({}),
      annotations: annotations.default({}),
      creationTimestamp: z.string().optional(),
      deletionTimestamp: z.string().optional(),
      ownerReferences: z.array(ownerReference).default([]),
    },
    [
      'clusterName',
      'deletionGracePeriodSeconds',
      'finalizers',
      'generateName',
      'generation',
      'managedFields',
      'resourceVersion',
      'selfLink',
    ],
  );
}

/** The selector of a policy: a workload is chosen when it carries every label. An empty one chooses all. */
export const workloadSelector = z
  .strictObject({
    matchLabels: z
      .record(qualifiedName, labelValue)
      .describe('Labels a workload must carry, all of them.')
      .meta({ maxProperties: 4096 })
      .optional(),
  })
  .describe('The workloads the object is about; without it, those of the whole namespace.');

function isQualifiedName(key: string): boolean {
  const slash = key.indexOf('/');
  if (slash === -1) return qualifiedNamePattern.test(key);
  const prefix = key.slice(0, slash);
  return (
    prefix.length <= 253 && subdomainPattern.test(prefix) && qualifiedNamePattern.test(key.slice(slash + 1))
  );
}

function isMeshKey(key: string): boolean {
  const slash = key.indexOf('/');
  if (slash === -1) return false;
  const prefix = key.slice(0, slash);
  return meshDomains.some(domain => prefix === domain || prefix.endsWith(`.${domain}`));
}
