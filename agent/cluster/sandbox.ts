/**
 * A pod's sandbox as a container runtime describes it: which pod it is of, and where its network namespace is. Pure.
 *
 * The path is in the verbose part of the answer, which is JSON that is nobody's standard: containerd and CRI-O both put
 * the OCI specification of the sandbox into it.
 */
import { canonicalIp } from '../../model/address.ts';

/** One incarnation of a pod on this node. A pod whose sandbox dies gets another one, with another namespace. */
export interface Sandbox {
  /** The runtime's, and `CNI_CONTAINERID` of the plugins. */
  readonly id: string;
  /** As the runtime knows it; see NodePod.runtimeUid. */
  readonly podUid: string;
  readonly namespace: string;
  readonly name: string;
  /** Path of its network namespace. */
  readonly netns: string;
  /** Canonical, the pod's first address first; empty where they are not known yet. */
  readonly addresses: readonly string[];
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
}

export interface WireSandboxMetadata {
  readonly name: string;
  readonly uid: string;
  readonly namespace: string;
}

export interface WireSandbox {
  readonly id: string;
  readonly metadata: WireSandboxMetadata | null;
  readonly state: number;
  readonly createdAt: number;
}

export interface WireSandboxStatus extends WireSandbox {
  readonly network: {
    readonly ip: string;
    readonly additionalIps: readonly { readonly ip: string }[];
  } | null;
  readonly linux: {
    readonly namespaces: { readonly options: { readonly network: number } | null } | null;
  } | null;
}

export interface WireSandboxStatusResponse {
  readonly status: WireSandboxStatus | null;
  readonly info: Readonly<Record<string, string>>;
}

/** SANDBOX_READY of the interface. */
export const sandboxReady = 0;
const networkOfNode = 2;

/** Why a sandbox is none that could be enrolled: it is over, it shares the node's network, or it can't be understood. */
export type NoSandbox = 'not ready' | 'host network' | 'no namespace';

/** @param processNetns path of the namespace of a process of this sandbox, or null where there is none; asked last */
export function readSandbox(
  { status, info }: WireSandboxStatusResponse,
  processNetns: (pid: number, sandboxId: string) => string | null,
): Sandbox | NoSandbox {
  if (status === null || status.metadata === null || status.state !== sandboxReady) return 'not ready';
  if (status.linux?.namespaces?.options?.network === networkOfNode) return 'host network';
  const { metadata, network, createdAt, id } = status;
  const verbose = readInfo(info['info'] ?? '');
  if (verbose.closed) return 'not ready';
  const netns = verbose.netns ?? (verbose.pid === null ? null : processNetns(verbose.pid, id));
  if (netns === null) return 'no namespace';
  const ips = network === null ? [] : [network.ip, ...network.additionalIps.map(({ ip }) => ip)];
  return {
    id,
    podUid: metadata.uid,
    namespace: metadata.namespace,
    name: metadata.name,
    netns,
    addresses: ips.flatMap(ip => canonicalIp(ip) ?? []),
    createdAt: createdAt / 1e6,
  };
}

interface VerboseInfo {
  readonly netns: string | null;
  readonly pid: number | null;
  /** The runtime says that the namespace is gone. */
  readonly closed: boolean;
}

interface InfoJson {
  readonly pid?: unknown;
  readonly netNamespaceClosed?: unknown;
  readonly runtimeSpec?: {
    readonly linux?: {
      readonly namespaces?: readonly { readonly type?: unknown; readonly path?: unknown }[];
    };
  } | null;
}

/** What cannot be read counts as not said. */
function readInfo(text: string): VerboseInfo {
  try {
    const info = JSON.parse(text) as InfoJson;
    const namespaces = info.runtimeSpec?.linux?.namespaces ?? [];
    const path = namespaces.find(({ type }) => type === 'network')?.path;
    const { pid } = info;
    return {
      netns: typeof path === 'string' && path.startsWith('/') ? path : null,
      pid: typeof pid === 'number' && Number.isInteger(pid) && pid > 0 ? pid : null,
      closed: info.netNamespaceClosed === true,
    };
  } catch {
    return { netns: null, pid: null, closed: false };
  }
}
