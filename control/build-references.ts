/**
 * What objects refer to by name and nobody has described: namespaces and service accounts in policies, service accounts
 * of pods. Nothing here changes what is in force; a name that is misspelt is just easier found here than in a refusal.
 */
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import { useWaypoint } from '../model/kinds/marks.ts';
import { marksField } from './build-enrolment.ts';
import type { Objects, Report } from './build-objects.ts';
import { serviceAccountOf } from './build-workloads.ts';
import type { Located, LocatedObject } from './located.ts';
import { suggestion } from './spelling.ts';

/** Reports every reference that leads nowhere. */
export function reportReferences(objects: Objects, config: MeshConfig, report: Report): void {
  const known = namesOf(objects);
  for (const policy of objects.all('AuthorizationPolicy')) reportSources(policy, known, config, report);
  for (const pod of objects.all('Pod')) {
    const account = serviceAccountOf(pod.value);
    if (!known.described.has(pod.namespace) || account === 'default') continue;
    if (objects.get('ServiceAccount', pod.namespace, account) !== null) continue;
    const accounts = objects.all('ServiceAccount').filter(({ namespace }) => namespace === pod.namespace);
    const hint = suggestion(
      account,
      accounts.map(({ name }) => name),
    );
    const message = `there is no ServiceAccount ${pod.namespace}/${account}${hint}`;
    report(pod, 'warning', 'unknown-service-account', 'spec.serviceAccountName', message);
  }
}

/** A waypoint that is asked for and can not be had: its policies and routes are not in force, so nobody may miss it. */
export function reportWaypoints(objects: Objects, report: Report): void {
  const asking: readonly LocatedObject[] = [
    ...objects.all('Namespace'),
    ...objects.all('Service'),
    ...objects.all('Pod'),
  ];
  for (const object of asking) {
    const { labels } = object.value.metadata;
    for (const name of useWaypoint) {
      const value = Object.hasOwn(labels, name) ? labels[name] : undefined;
      if (value === undefined || value === 'none') continue;
      const message = `asks for the waypoint ${value}, which this version can not provide: traffic goes directly, with L4 policy only`;
      report(object, 'error', 'waypoint-unsupported', marksField('labels', name), message);
    }
  }
}

interface KnownNames {
  readonly namespaces: ReadonlySet<string>;
  /** `namespace/name` of every service account that is described or that a pod runs as. */
  readonly accounts: ReadonlySet<string>;
  /** Namespaces of which service accounts are described. */
  readonly described: ReadonlySet<string>;
}

function namesOf(objects: Objects): KnownNames {
  const pods = objects.all('Pod');
  const serviceAccounts = objects.all('ServiceAccount');
  const namespaces = [
    ...objects.all('Namespace').map(({ name }) => name),
    ...[...pods, ...serviceAccounts].map(({ namespace }) => namespace),
  ];
  const accounts = [
    ...serviceAccounts.map(({ namespace, name }) => `${namespace}/${name}`),
    ...pods.map(pod => `${pod.namespace}/${serviceAccountOf(pod.value)}`),
  ];
  return {
    namespaces: new Set(namespaces),
    accounts: new Set(accounts),
    described: new Set(serviceAccounts.map(({ namespace }) => namespace)),
  };
}

function reportSources(
  policy: Located<'AuthorizationPolicy'>,
  known: KnownNames,
  config: MeshConfig,
  report: Report,
): void {
  const warn = (code: string, field: string, message: string): void =>
    report(policy, 'warning', code, field, message);
  const namespace = (name: string, field: string): boolean => {
    if (known.namespaces.has(name)) return true;
    warn(
      'unknown-namespace',
      field,
      `nothing is in a namespace ${name}${suggestion(name, known.namespaces)}`,
    );
    return false;
  };
  const account = (name: string, field: string): void => {
    const [space = '', plain = ''] = name.split('/');
    if (!namespace(space, field) || plain === 'default' || known.accounts.has(name)) return;
    const message = `no pod runs as service account ${name}${suggestion(name, known.accounts)}`;
    warn('unknown-service-account', field, message);
  };
  const principal = (text: string, field: string): void => {
    const [, trustDomain, space, plain] = /^([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(text) ?? [];
    if (trustDomain === undefined || space === undefined || plain === undefined) {
      warn(
        'malformed-principal',
        field,
        `${text} is no identity: <trust domain>/ns/<namespace>/sa/<service account>`,
      );
    } else if (trustDomain === config.trustDomain) account(`${space}/${plain}`, field);
    else
      warn(
        'unknown-trust-domain',
        field,
        `the trust domain of this mesh is ${config.trustDomain}, not ${trustDomain}`,
      );
  };
  const each = (
    values: readonly string[] | undefined,
    field: string,
    look: (value: string, field: string) => unknown,
  ): void => {
    for (const [index, value] of (values ?? []).entries())
      if (!value.includes('*')) look(value, `${field}[${index}]`);
  };
  const ownAccount = (name: string, field: string): void =>
    account(name.includes('/') ? name : `${policy.namespace}/${name}`, field);

  for (const [index, rule] of (policy.value.spec.rules ?? []).entries()) {
    for (const [position, { source }] of (rule.from ?? []).entries()) {
      const field = `spec.rules[${index}].from[${position}].source`;
      each(source.namespaces, `${field}.namespaces`, namespace);
      each(source.notNamespaces, `${field}.notNamespaces`, namespace);
      each(source.serviceAccounts, `${field}.serviceAccounts`, ownAccount);
      each(source.notServiceAccounts, `${field}.notServiceAccounts`, ownAccount);
      each(source.principals, `${field}.principals`, principal);
      each(source.notPrincipals, `${field}.notPrincipals`, principal);
    }
    for (const [position, condition] of (rule.when ?? []).entries()) {
      const field = `spec.rules[${index}].when[${position}]`;
      const look = { 'source.namespace': namespace, 'source.principal': principal }[condition.key];
      if (look === undefined) continue;
      each(condition.values, `${field}.values`, look);
      each(condition.notValues, `${field}.notValues`, look);
    }
  }
}
