/**
 * What the CNI plugin (native/cni) and the agent say to each other over a Unix socket: one question, one answer.
 *
 *   question   length · { length · bytes } × 7: "1", CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_ARGS, and
 *              the network configuration as it came
 *   answer     length · { length · bytes } × 3: code in decimal, message, details
 *
 * Lengths are four bytes in network order and don't count themselves. Code 0 lets the pod start; others are error codes of
 * the CNI specification, or 100 and above.
 */
import { CulvertError } from '../../base/errors.ts';
import { canonicalIp } from '../../model/address.ts';

const protocolVersion = '1';
/** The plugin sends at most a mebibyte of configuration, and four variables. */
export const maxQuestionBytes = 1_100_000;

export interface CniQuestion {
  readonly command: string;
  readonly sandboxId: string;
  readonly netns: string;
  readonly interfaceName: string;
  /** From CNI_ARGS, as Kubernetes' runtimes say it; '' where they don't. */
  readonly pod: { readonly uid: string; readonly namespace: string; readonly name: string };
  /** Addresses that the plugins before gave the pod, canonical. */
  readonly addresses: readonly string[];
}

export interface CniAnswer {
  readonly code: number;
  readonly message: string;
  readonly details: string;
  /** The pod is in the mesh now; the plugin is not told. */
  readonly enrolled?: true;
}

export const mayStart: CniAnswer = { code: 0, message: '', details: '' };
export const isEnrolled: CniAnswer = { ...mayStart, enrolled: true };

/** Codes of the CNI specification. */
export const cniCodes = { badEnvironment: 4, badInput: 6, tryAgain: 11 } as const;

/** Ours: the pod belongs to the mesh and could not be enrolled. */
export const notEnrolled = 101;

/** @param bytes a question without its own length. Throws CNI_BAD_QUESTION. */
export function decodeQuestion(bytes: Buffer): CniQuestion {
  const fields: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const start = at + 4;
    const end = start <= bytes.length ? start + bytes.readUInt32BE(at) : Infinity;
    if (end > bytes.length) throw bad('a field is cut off');
    fields.push(bytes.subarray(start, end));
    at = end;
  }
  const [version, command, sandboxId, netns, interfaceName, args, config] = fields;
  if (fields.length !== 7 || config === undefined || args === undefined)
    throw bad(`it has ${fields.length} fields`);
  if (version?.toString() !== protocolVersion) throw bad('it is of another version');
  const known = parseArgs(args.toString());
  return {
    command: command?.toString() ?? '',
    sandboxId: sandboxId?.toString() ?? '',
    netns: netns?.toString() ?? '',
    interfaceName: interfaceName?.toString() ?? '',
    pod: {
      uid: known.get('K8S_POD_UID') ?? '',
      namespace: known.get('K8S_POD_NAMESPACE') ?? '',
      name: known.get('K8S_POD_NAME') ?? '',
    },
    addresses: previousAddresses(config.toString()),
  };
}

/** What the plugin has room for; a runtime shows no more than this either. */
const longestText = 1_000;

/** With its own length. */
export function encodeAnswer({ code, message, details }: CniAnswer): Buffer {
  const texts = [String(code), message, details].map(text => text.slice(0, longestText));
  return framed(Buffer.concat(texts.map(text => framed(Buffer.from(text)))));
}

function framed(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** `K=V;K=V` */
function parseArgs(text: string): Map<string, string> {
  const args = new Map<string, string>();
  for (const pair of text.split(';')) {
    const split = pair.indexOf('=');
    if (split > 0) args.set(pair.slice(0, split), pair.slice(split + 1));
  }
  return args;
}

/** `prevResult.ips[].address`, which has a prefix length; empty where there is none, as at DEL. */
function previousAddresses(text: string): string[] {
  try {
    const { prevResult } = JSON.parse(text) as {
      prevResult?: { ips?: readonly { address?: unknown }[] } | null;
    };
    return (prevResult?.ips ?? []).flatMap(({ address }) =>
      typeof address === 'string' ? (canonicalIp(address.split('/')[0] ?? '') ?? []) : [],
    );
  } catch {
    return [];
  }
}

function bad(what: string): CulvertError {
  return new CulvertError('CNI_BAD_QUESTION', `what the CNI plugin says cannot be understood: ${what}`, {
    side: 'client',
    fix: 'the installed plugin is of another version of Culvert; the agent puts its own in place at its start',
  });
}
