/**
 * Whether a pod is in the mesh, and how: the labels of pod and namespace, and what keeps a pod out in spite of them.
 *
 * The rule of ambient meshes: a pod is in when it says so itself, or when its namespace does and the pod does not say
 * `none`. A pod that asks to be in and can not be is always reported: its traffic is not protected.
 */
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import {
  dataplaneMode,
  dnsCapture,
  failMode,
  firstMark,
  netns,
  redirection,
  sidecarStatus,
} from '../model/kinds/marks.ts';
import { type Located, childField, type Report } from './located.ts';
import { suggestion } from './spelling.ts';

/**
 * Where the objects come from. In a directory an annotation says where a pod lives; in a cluster the agent of its node
 * finds out, and an annotation of the control plane says whether it has.
 */
export type BuildMode = 'directory' | 'cluster';

export interface EnrolmentSettings {
  /** Absolute path of the network namespace; empty in a cluster. */
  readonly netns: string;
  readonly failMode: 'open' | 'closed';
  readonly dnsCapture: boolean;
}

export interface EnrolmentInput {
  readonly pod: Located<'Pod'>;
  /** Null when nothing describes the namespace: it has no labels then. */
  readonly namespace: Located<'Namespace'> | null;
  readonly addresses: readonly string[];
  readonly config: MeshConfig;
  readonly mode: BuildMode;
}

/**
 * The settings of a pod that is to be in the mesh, null for one that is not. In a cluster that includes pods which have
 * no address yet: a pod is enrolled before it runs.
 */
export function enrolmentOf(input: EnrolmentInput, report: Report): EnrolmentSettings | null {
  const { pod, namespace, config, mode } = input;
  const own = modeOf(pod, report);
  const inherited = namespace === null ? null : modeOf(namespace, () => {});
  if (own === 'none' || (own === null && inherited !== 'ambient')) return null;
  const field =
    own === 'ambient' ? marksField('labels', firstMark(pod.value.metadata.labels, dataplaneMode)?.name) : '';
  const refuse: Refuse = (severity, code, message) => {
    report(pod, severity, code, field, message);
    return null;
  };

  // What an own label asks for and does not get is worth a warning; a namespace label is about pods in general.
  const severity = own === 'ambient' ? 'warning' : 'info';
  if (config.excludedNamespaces.includes(pod.namespace)) {
    if (own !== 'ambient') return null;
    return refuse('warning', 'excluded-namespace', `not enrolled: ${pod.namespace} is an excluded namespace`);
  }
  if (pod.value.spec.hostNetwork) {
    return refuse(severity, 'host-network', 'not enrolled: it uses the network of its node');
  }
  if (Object.hasOwn(pod.value.metadata.annotations, sidecarStatus)) {
    return refuse(severity, 'has-sidecar', `not enrolled: it has a sidecar (annotation ${sidecarStatus})`);
  }
  const netnsPath = mode === 'cluster' ? '' : netnsOf(input, refuse, report);
  if (netnsPath === null) return null;
  return {
    netns: netnsPath,
    failMode: failModeOf(pod, config, report),
    dnsCapture: dnsCaptureOf(pod, config, report),
  };
}

/**
 * Whether traffic to a pod that is to be in the mesh goes through its tunnel. In a cluster: once its agent has said so,
 * and before it was ever ready, since a new pod is enrolled before anything in it runs.
 */
export function isTunnelled(
  pod: Located<'Pod'>,
  settings: EnrolmentSettings | null,
  mode: BuildMode,
  report: Report,
): boolean {
  if (settings === null) return false;
  if (mode === 'directory') return true;
  if (redirection.some(name => pod.value.metadata.annotations[name] === 'enabled')) return true;
  if (!wasReady(pod)) return true;
  const message = `not enrolled yet: the agent of node ${pod.value.spec.nodeName ?? ''} has not said that it redirects its traffic, so others reach it in plaintext`;
  report(pod, 'error', 'not-redirected', '', message);
  return false;
}

/** A condition that never changed is as old as the pod's start, up to the seconds that both are rounded to. */
const startToleranceMs = 2_000;

/** Whether a pod is ready, or has been. */
export function wasReady({ value }: Located<'Pod'>): boolean {
  const { conditions = [], startTime } = value.status;
  const [ready] = conditions;
  if (ready === undefined) return false;
  if (ready.status === 'True') return true;
  const began = Date.parse(startTime ?? '');
  const changed = Date.parse(ready.lastTransitionTime ?? '');
  return changed - began > startToleranceMs;
}

type Refuse = (severity: 'error' | 'warning' | 'info', code: string, message: string) => null;

/** Where a pod of a directory lives; null when nobody could enrol it there. */
function netnsOf({ pod, addresses }: EnrolmentInput, refuse: Refuse, report: Report): string | null {
  if (addresses.length === 0) {
    return refuse('error', 'pod-without-address', 'not enrolled: it has no status.podIP');
  }
  if (pod.value.spec.nodeName === undefined) {
    return refuse(
      'error',
      'pod-without-node',
      'not enrolled: without spec.nodeName no agent is responsible for it',
    );
  }
  const path = pod.value.metadata.annotations[netns];
  if (path === undefined) {
    return refuse('error', 'pod-without-netns', `not enrolled: no annotation ${netns} says where it lives`);
  }
  if (!/^\/(?!.*\/\.\.?(\/|$)).*[^/]$/.test(path) || path.includes('\0')) {
    const message = `not enrolled: ${netns} is ${JSON.stringify(path)}, which is no absolute path of a file`;
    report(pod, 'error', 'invalid-annotation', marksField('annotations', netns), message);
    return null;
  }
  return path.replaceAll(/\/{2,}/g, '/');
}

const modes = ['ambient', 'none'];

/** What the label of a pod or namespace says; null when it says nothing that is known. */
export function modeOf(object: Located<'Pod' | 'Namespace'>, report: Report): 'ambient' | 'none' | null {
  const { labels } = object.value.metadata;
  const mark = firstMark(labels, dataplaneMode);
  if (mark === null) return null;
  const field = marksField('labels', mark.name);
  const [ours, other] = dataplaneMode;
  if (Object.hasOwn(labels, ours) && Object.hasOwn(labels, other) && labels[ours] !== labels[other]) {
    report(
      object,
      'warning',
      'conflicting-labels',
      field,
      `${ours} and ${other} disagree: ${ours} is in force`,
    );
  }
  if (mark.value === 'ambient' || mark.value === 'none') return mark.value;
  const meant = suggestion(mark.value, modes);
  const message = `${mark.name} is ${JSON.stringify(mark.value)}, which means nothing: ambient and none are known${meant}`;
  report(object, 'warning', 'unknown-dataplane-mode', field, message);
  return null;
}

/** An annotation that can not be read counts as closed: what was meant as closed must not fail open. */
function failModeOf(pod: Located<'Pod'>, config: MeshConfig, report: Report): 'open' | 'closed' {
  const value = pod.value.metadata.annotations[failMode];
  if (value === undefined) return config.defaultFailMode;
  if (value === 'open' || value === 'closed') return value;
  const message = `${failMode} is ${JSON.stringify(value)}, not open or closed: closed is in force`;
  report(pod, 'error', 'invalid-annotation', marksField('annotations', failMode), message);
  return 'closed';
}

function dnsCaptureOf(pod: Located<'Pod'>, config: MeshConfig, report: Report): boolean {
  const mark = firstMark(pod.value.metadata.annotations, dnsCapture);
  if (mark === null) return config.dnsCapture;
  if (mark.value === 'true' || mark.value === 'false') return mark.value === 'true';
  const message = `${mark.name} is ${JSON.stringify(mark.value)}, not "true" or "false": ${config.dnsCapture} is in force`;
  report(pod, 'error', 'invalid-annotation', marksField('annotations', mark.name), message);
  return config.dnsCapture;
}

/** The field of a label or annotation; '' without a name. */
export function marksField(kind: 'labels' | 'annotations', name: string | undefined): string {
  return name === undefined ? '' : childField(`metadata.${kind}`, name);
}
