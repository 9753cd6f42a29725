/**
 * Keeps the kernel told which process is the kubelet, also after it was restarted.
 *
 * Until a new one is found its probes are refused by STRICT workloads like anybody's plain TCP: a second at most, and a
 * kubelet that starts has other things to do first.
 */
import type { Logger } from '../../base/log.ts';
import { findKubelet, type FoundKubelet, type KubeletOptions, stillRuns } from './kubelet.ts';

export interface KubeletWatchOptions extends KubeletOptions {
  readonly redirect: { setKubelet(kubelet: FoundKubelet['process'] | null): void };
  /** Whether a node without one is worth a warning. */
  readonly expected: boolean;
  /** Of the node, as readlink(2) shows it; null: that of this process. */
  readonly netns: string | null;
  readonly log: Logger;
}

const checkMs = 1_000;

export class KubeletWatch {
  readonly #options: KubeletWatchOptions;
  #known: FoundKubelet | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: KubeletWatchOptions) {
    this.#options = options;
  }

  /** The kubelet whose probes are recognised; null while none is known. */
  get kubelet(): FoundKubelet | null {
    return this.#known;
  }

  start(): void {
    // What an earlier agent has told the kernel may be gone.
    this.#adopt(this.#find());
    this.#timer = setInterval(() => this.look(), checkMs).unref();
  }

  /** What the kernel was told stays until the next agent looks. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** Looks now; nothing to do while the known one runs. */
  look(): void {
    if (this.#known !== null && stillRuns(this.#known)) return;
    const found = this.#find();
    if (found !== null || this.#known !== null) this.#adopt(found);
  }

  #find(): FoundKubelet | null {
    const { netns } = this.#options;
    return netns === null ? findKubelet(this.#options) : findKubelet(this.#options, netns);
  }

  #adopt(found: FoundKubelet | null): void {
    const { redirect, log, name, cgroupRoot, expected } = this.#options;
    redirect.setKubelet(found?.process ?? null);
    this.#known = found;
    if (found !== null) {
      log.info({ pid: found.pid, cgroup: found.cgroup }, 'probes of the kubelet are recognised');
    } else if (expected) {
      log.warn(
        { code: 'KUBELET_NOT_FOUND', name, cgroupRoot },
        'no kubelet found: STRICT workloads refuse its probes until there is one',
      );
    }
  }
}
