/**
 * The kernel path as the main thread holds it: whether this kernel may have it, and the verdicts that open it.
 *
 * A connection between two pods of this node goes through a shard the first time. When that went well, the decision
 * becomes a verdict, and later ones are set up and carried by the kernel alone, with or without a running agent; one
 * shard hears of them by events and keeps their books (kernel-path-passages.ts). bpf/README.md has the kernel's side.
 */
import { closeSync, openSync } from 'node:fs';
import type { Logger } from '../base/log.ts';
import { describeError } from '../base/errors.ts';
import * as native from '../native/native.ts';
import type { Agent } from './agent.ts';
import type { PathMode } from './config.ts';
import { encodePathConfig, type PathConfig } from './kernel-path-abi.ts';
import { judgeOf, type NodeState } from './kernel-path-judge.ts';
import { ServiceTable } from './kernel-path-services.ts';
import { serviceJudgeOf } from './kernel-path-service-judge.ts';
import { pathFitness, type PathFitness } from './kernel-path-selftest.ts';
import { Verdicts } from './kernel-path-verdicts.ts';
import type { Neighbour } from './kernel-path-requests.ts';
import type { Pods } from './pods.ts';
import type { Redirect } from './redirect.ts';
import { encodeIndex } from './redirect-abi.ts';
import { attachHabits, attachToCgroup } from './redirect-hooks.ts';
import { loadLegProgram, loadUnreadProgram, withPathPrograms } from './redirect-programs.ts';

export interface PathState {
  readonly mode: PathMode;
  readonly verdicts: number;
  /** Pairs of a pod and a Service whose endpoints the kernel may draw. */
  readonly services: number;
  /** Times that a Service did not fit, by why. */
  readonly servicesLeftOut: { readonly endpoints: number; readonly room: number };
  /** Why it is less than what was asked for; null where it is not. */
  readonly problem: string | null;
}

/** By then every shard has heard of a changed mesh. */
const heardMs = 250;

/** Beside the attach type of the redirection's own hook. */
const linkName = 'path_sock_ops';

export interface KernelPathOptions {
  readonly redirect: Redirect;
  readonly cgroupRoot: string;
  readonly agentCgroup: string;
  readonly wanted: PathMode;
  readonly limit: number;
  readonly graceMs: number;
  readonly log: Logger;
}

export class KernelPath {
  readonly mode: PathMode;
  readonly problem: string | null;
  /** What joins legs; null without joins. */
  readonly legProgram: number | null;
  /** What tells whether a joined socket may leave; null without joins. */
  readonly unreadProgram: number | null;
  readonly #verdicts: Verdicts;
  readonly #services: ServiceTable;
  #renewal: NodeJS.Timeout | null = null;
  /** Verdicts of an earlier agent stay as they are until pods and mesh are known. */
  #settled = false;

  private constructor(
    redirect: Redirect,
    state: Pick<PathState, 'mode' | 'problem'>,
    programs: JoinPrograms,
  ) {
    this.mode = state.mode;
    this.problem = state.problem;
    this.legProgram = programs.leg;
    this.unreadProgram = programs.unread;
    this.#verdicts = new Verdicts(redirect.maps);
    this.#services = new ServiceTable(redirect.maps);
    redirect.onRetire = cookie => {
      this.#verdicts.retired(cookie);
      this.#services.retired(cookie);
    };
  }

  /** Tests the kernel and puts the programs in place. Never throws: what can't be is `off`, with its reason. */
  static async open(options: KernelPathOptions): Promise<KernelPath> {
    const { redirect, wanted, limit, graceMs, log } = options;
    let { mode, problem, legs } = wanted === 'off' ? left : await fitMode(options);
    let programs = apart;
    if (mode !== 'off') {
      try {
        await attach(options);
      } catch (error) {
        [mode, problem] = ['off', describeError(error)];
      }
    }
    if (mode === 'join') {
      programs = openJoin(redirect, legs);
      problem ??= watchHabits(redirect);
    }
    if (mode !== 'join') redirect.pins.removeHabits();
    const config: PathConfig = { enabled: mode !== 'off', joins: mode === 'join', limit, graceMs };
    native.mapUpdate(redirect.maps.path_config, encodeIndex(0), encodePathConfig(config), 'any');
    const path = new KernelPath(redirect, { mode, problem }, programs);
    if (mode === 'off') {
      path.#services.clear();
      path.#verdicts.clear();
    }
    if (problem !== null) log.warn({ code: 'KERNEL_PATH_LIMITED', mode, err: problem }, 'kernel path');
    return path;
  }

  state(): PathState {
    return {
      mode: this.mode,
      verdicts: this.#verdicts.size,
      services: this.#services.size,
      servicesLeftOut: this.#services.leftOut,
      problem: this.problem,
    };
  }

  /** Shards have ended, or never began. */
  close(): void {
    if (this.#renewal !== null) clearTimeout(this.#renewal);
    for (const program of [this.legProgram, this.unreadProgram]) if (program !== null) native.close(program);
  }

  /** Whether the verdicts are this agent's. */
  get settled(): boolean {
    return this.#settled;
  }

  /** The mesh has changed; to be called before shards hear of it. Nothing before the first `settle`. */
  follow(agent: Agent): void {
    if (this.#isOurs(agent)) this.#judgeAgain(agent);
  }

  #judgeAgain(agent: Agent): void {
    const state = stateOf(agent);
    this.#verdicts.follow(judgeOf(state));
    this.#services.follow(serviceJudgeOf(state));
    this.#renewal ??= setTimeout(() => this.#renew(agent), heardMs).unref();
  }

  #renew(agent: Agent): void {
    this.#renewal = null;
    if (this.mode !== 'off' && !agent.draining && this.#isOurs(agent))
      this.#verdicts.renew(judgeOf(stateOf(agent)));
  }

  /** Pods are enrolled as the configuration wants them. True the first time that this agent serves. */
  settle(agent: Agent): boolean {
    if (this.#isOurs(agent)) {
      this.#judgeAgain(agent);
      return false;
    }
    if (!agent.place.held) return false;
    if (this.mode !== 'off') {
      const state = stateOf(agent);
      this.#verdicts.adopt(judgeOf(state));
      this.#services.adopt(serviceJudgeOf(state));
    }
    this.#settled = true;
    return true;
  }

  /** An agent that has given its place to another writes nothing, and knows nothing when it gets it back. */
  #isOurs(agent: Agent): boolean {
    if (agent.place.held) return this.#settled;
    this.#settled = false;
    return false;
  }

  /** A shard has carried a connection of this pod to a neighbour, by its own address or by that of a Service. */
  learn(agent: Agent, { podUid, reached, service }: Neighbour): void {
    if (this.mode === 'off' || agent.draining || !this.#isOurs(agent)) return;
    const source = agent.parts.pods.list().find(pod => pod.wanted.podUid === podUid)?.cookie;
    if (source === undefined) return;
    const state = stateOf(agent);
    this.#verdicts.learn({ source, ...reached }, judgeOf(state));
    if (service !== null) this.#services.learn({ source, ...service }, reached, serviceJudgeOf(state));
  }
}

function stateOf({ mesh, config, parts }: Agent): NodeState {
  const pods: ReturnType<Pods['list']> = parts.pods.list();
  return { mesh, node: config.node, ports: config.podPorts, pods };
}

/** What the agent itself runs. */
interface JoinPrograms {
  readonly leg: number | null;
  readonly unread: number | null;
}

const apart: JoinPrograms = { leg: null, unread: null };

function openJoin({ maps }: Redirect, legs: boolean): JoinPrograms {
  return { unread: loadUnreadProgram(maps), leg: legs ? loadLegProgram(maps) : null };
}

/** What programs ask of their sockets is seen from now on. Returns why it is not. */
function watchHabits({ pins, maps }: Redirect): string | null {
  try {
    attachHabits(pins, maps);
    return null;
  } catch (error) {
    return `programs that splice, or ask how much they may read, are joined all the same: ${describeError(error)}`;
  }
}

interface Fit {
  readonly mode: PathMode;
  readonly legs: boolean;
  readonly problem: string | null;
}

const left: Fit = { mode: 'off', legs: false, problem: null };

async function fitMode(options: KernelPathOptions): Promise<Fit> {
  const { direct, joins, legs, problem }: PathFitness = await pathFitness(options.agentCgroup);
  if (!direct) return { ...left, problem };
  if (options.wanted === 'direct') return { ...left, mode: 'direct' };
  return { mode: joins ? 'join' : 'direct', legs, problem };
}

async function attach({ redirect, cgroupRoot }: KernelPathOptions): Promise<void> {
  const { maps, pins } = redirect;
  const root = openSync(cgroupRoot, 'r');
  try {
    await withPathPrograms(maps, programs => {
      // Who reads comes first: sockets that enter the join get the program that is there.
      native.attachSockmap(programs.join, maps.joined);
      attachToCgroup(pins, linkName, 'sock_ops', programs.passages, root, native.cgroupId(cgroupRoot));
    });
  } finally {
    closeSync(root);
  }
}
