/**
 * What a failed system call becomes: the errno by name, what was attempted, and the likely remedy.
 *
 * The addon throws nothing of its own: it hands the errno number and the attempt to `nativeError`, so that every
 * text a person reads is here.
 */
export interface NativeFailure {
  /** Positive errno. */
  readonly errno: number;
  /** Its name, for example `EPERM`; Node names only those that libuv knows. */
  readonly code: string;
  /** What the C library says about it. */
  readonly text: string;
  /** What was attempted, for example `bpf(BPF_PROG_LOAD) connect4`. */
  readonly syscall: string;
  /** What the errno alone does not say, or an empty string. */
  readonly detail: string;
  /** Everything libbpf and the verifier said, or an empty string. */
  readonly log: string;
}

export class NativeError extends Error {
  override readonly name = 'NativeError';
  /** The errno by name, for example `EPERM`. */
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
  /** The likely remedy, one sentence in lower case, or null where only the message helps. */
  readonly fix: string | null;
  /** The complete log of libbpf and the verifier, or null; the message has its last telling lines. */
  readonly log: string | null;

  constructor(failure: NativeFailure) {
    const { code, syscall, log } = failure;
    const text = failure.text.charAt(0).toLowerCase() + failure.text.slice(1);
    const detail = failure.detail || tellingLines(log);
    super(`${syscall}: ${text} (${code})${detail === '' ? '' : `: ${detail}`}`);
    this.code = code;
    this.errno = failure.errno;
    this.syscall = syscall;
    this.fix = likelyFix(code, syscall);
    this.log = log === '' ? null : log;
  }
}

/** What the addon calls to make the error it throws. */
export function nativeError(
  errno: number,
  code: string,
  text: string,
  syscall: string,
  detail: string,
  log: string,
): NativeError {
  return new NativeError({ errno, code, text, syscall, detail, log });
}

/** How many lines of a verifier log the message carries: the rejected instruction, its source line and the reason. */
const telling = 6;

/** Returns the end of a log of libbpf, or of the verifier log in it, without statistics: there the reason stands. */
export function tellingLines(log: string): string {
  // libbpf sets what the verifier said between two marks; without them nothing but libbpf has spoken.
  const verifier = /-- BEGIN PROG LOAD LOG --\n([^]*?)-- END PROG LOAD LOG --/.exec(log)?.[1];
  const lines = (verifier ?? log).split('\n').filter(line => line.trim() !== '' && !isNoise(line));
  const shown = lines.slice(-telling).map(line => line.trim());
  const omitted = lines.length - shown.length;
  return omitted > 0 ? `${shown.join(' | ')} (${omitted} lines before)` : shown.join(' | ');
}

function isNoise(line: string): boolean {
  return /^(processed \d+ insns|verification time |stack depth )/.test(line);
}

interface Remedy {
  readonly codes: readonly string[];
  readonly attempt: RegExp;
  readonly fix: string;
}

/** First match wins: the more specific attempt stands above the more general one. */
const remedies: readonly Remedy[] = [
  {
    codes: ['EPERM', 'EACCES', 'EINVAL'],
    attempt: /^bpf\(BPF_OBJ_(PIN|GET)\)/,
    fix: 'the path must be on a mounted bpffs: mount -t bpf bpf /sys/fs/bpf',
  },
  {
    codes: ['EEXIST'],
    attempt: /^bpf\(BPF_OBJ_PIN\)/,
    fix: 'something is pinned there already: adopt or unpin it first',
  },
  {
    codes: ['EPERM'],
    attempt: /^bpf\(/,
    fix: 'run as root or grant CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; on kernels before 5.11 raise RLIMIT_MEMLOCK too',
  },
  {
    codes: ['EACCES'],
    attempt: /^bpf\(BPF_PROG_LOAD\)/,
    fix: 'the verifier of this kernel refused the program: report the log of this error with the kernel version',
  },
  {
    codes: ['EINVAL', 'ENOTSUPP', 'EOPNOTSUPP'],
    attempt: /^bpf\((BPF_PROG_LOAD|BPF_MAP_CREATE|BPF_LINK_CREATE|BPF_LINK_UPDATE)\)/,
    fix: 'the kernel may be too old for this program, map or link: Linux 5.15 or later is needed, `culvert check` lists what is missing',
  },
  {
    codes: ['ENOLINK'],
    attempt: /^bpf\(BPF_LINK_/,
    fix: 'the cgroup or namespace of the link is gone: attach again',
  },
  {
    codes: ['E2BIG'],
    attempt: /^bpf\(BPF_MAP_UPDATE_ELEM\)/,
    fix: 'the map is full: raise its max_entries or remove stale entries',
  },
  {
    codes: ['ENOMEM'],
    attempt: /^bpf\(/,
    fix: 'raise RLIMIT_MEMLOCK (kernels before 5.11) or the memory limit of the cgroup',
  },
  {
    codes: ['ENOENT'],
    attempt: /^open\(BPF object\)/,
    fix: 'the compiled programs are missing: run `make build`',
  },
  {
    codes: ['ENOENT'],
    attempt: /^open\(network namespace\)/,
    fix: 'the network namespace is gone or its path is wrong',
  },
  {
    codes: ['EINVAL'],
    attempt: /^(ioctl\(NS_GET_NSTYPE\)|setns)/,
    fix: 'give a network namespace: /run/netns/NAME or /proc/PID/ns/net; a plain file there means that the namespace is gone',
  },
  {
    codes: ['EACCES', 'EPERM'],
    attempt: /^open\(network namespace\)/,
    fix: 'run as root or grant CAP_SYS_PTRACE',
  },
  {
    codes: ['EPERM'],
    attempt: /^setns/,
    fix: 'run as root or grant CAP_SYS_ADMIN: it is needed to enter the namespace of a pod',
  },
  {
    codes: ['EPERM', 'EACCES'],
    attempt: /^mount/,
    fix: 'run as root or grant CAP_SYS_ADMIN, or mount it before starting',
  },
  { codes: ['ENODEV'], attempt: /^mount/, fix: 'this kernel is built without that filesystem' },
  { codes: ['EPERM', 'EACCES'], attempt: /^bind /, fix: 'ports below 1024 need CAP_NET_BIND_SERVICE' },
  {
    codes: ['EADDRINUSE'],
    attempt: /^(bind|listen) /,
    fix: 'another program in that network namespace holds the port: stop it or configure another port',
  },
  { codes: ['EADDRNOTAVAIL'], attempt: /^bind /, fix: 'that network namespace has no such address' },
  { codes: ['EAFNOSUPPORT'], attempt: /^(socket|bind)/, fix: 'IPv6 is switched off in this kernel' },
  {
    codes: ['ENOPROTOOPT'],
    attempt: /SO_NETNS_COOKIE/,
    fix: 'the kernel is too old: Linux 5.14 or later is needed',
  },
  {
    codes: ['EMFILE', 'ENFILE'],
    attempt: /./,
    fix: 'raise the limit of open files: ulimit -n, or LimitNOFILE of the service',
  },
  { codes: ['EBADF'], attempt: /./, fix: 'the descriptor is closed or of another kind' },
  {
    codes: ['ENOSYS'],
    attempt: /./,
    fix: 'the kernel is too old or a seccomp profile hides this call: Linux 5.15 or later is needed',
  },
];

/** Returns what a person should try for `code` after `syscall`, or null where nothing general can be said. */
export function likelyFix(code: string, syscall: string): string | null {
  return remedies.find(remedy => remedy.codes.includes(code) && remedy.attempt.test(syscall))?.fix ?? null;
}
