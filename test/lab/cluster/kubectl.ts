/**
 * kubectl, as people use it: what a test does to the cluster can be typed by hand in `main.ts shell`.
 */
import type { KubernetesObject } from '../kubernetes.ts';
import { type Finished, run, type RunProgramOptions } from '../run.ts';

/** A pod and where it is looked for. */
export interface PodName {
  readonly namespace: string;
  readonly name: string;
}

export class Kubectl {
  readonly program: string;
  readonly kubeconfig: string;

  constructor(program: string, kubeconfig: string) {
    this.program = program;
    this.kubeconfig = kubeconfig;
  }

  /** Runs kubectl with these arguments. Throws LAB_COMMAND_FAILED with what it said, unless told not to check. */
  run(args: readonly string[], options: RunProgramOptions = {}): Promise<Finished> {
    return run(this.program, [`--kubeconfig=${this.kubeconfig}`, ...args], options);
  }

  /** Returns what it printed. */
  async text(...args: string[]): Promise<string> {
    return (await this.run(args)).stdout.trim();
  }

  /** The object or list that `kubectl get ARGS` shows; the caller says what it is. */
  async get<T = KubernetesObject>(...args: string[]): Promise<T> {
    return JSON.parse(await this.text('get', '--output=json', ...args)) as T;
  }

  /** Objects, or YAML of any number of documents, made or brought to this state. */
  async apply(what: readonly KubernetesObject[] | string): Promise<void> {
    // Not as YAML, of which kubectl reads an old version where `yes` is no text.
    const input =
      typeof what === 'string' ? what : JSON.stringify({ apiVersion: 'v1', kind: 'List', items: what });
    await this.run(['apply', '--server-side', '--force-conflicts', '--filename=-'], { input });
  }

  /** Deletes and waits until they are gone; it is no error if they were. */
  async delete(...args: string[]): Promise<void> {
    await this.run(['delete', '--ignore-not-found', '--timeout=120s', ...args], { timeoutMs: 130_000 });
  }

  /** Has a namespace deleted with all that is in it, which takes its time, and does not wait. */
  async abandon(namespace: string): Promise<void> {
    await this.run(['delete', 'namespace', namespace, '--ignore-not-found', '--wait=false']);
  }

  /**
   * Waits by a watch, not by asking again.
   *
   * @param condition as `kubectl wait --for` takes it: `condition=Ready`, `delete`, `jsonpath={.status.phase}=Running`
   */
  async waitFor(condition: string, args: readonly string[], timeoutMs = 60_000): Promise<void> {
    const timeout = `--timeout=${Math.ceil(timeoutMs / 1000)}s`;
    await this.run(['wait', `--for=${condition}`, timeout, ...args], { timeoutMs: timeoutMs + 10_000 });
  }

  /** Waits until a Deployment or DaemonSet runs what it should. */
  async rolledOut(namespace: string, workload: string, timeoutMs = 90_000): Promise<void> {
    const timeout = `--timeout=${Math.ceil(timeoutMs / 1000)}s`;
    const args = ['rollout', 'status', `--namespace=${namespace}`, timeout, workload];
    await this.run(args, { timeoutMs: timeoutMs + 10_000 });
  }

  /** Runs a program in a pod to its end; a non-zero exit is an answer. */
  exec(pod: PodName, argv: readonly string[], options: RunProgramOptions = {}): Promise<Finished> {
    return this.run(this.execArguments(pod, argv), { check: false, ...options });
  }

  /** Arguments that run a program in a pod. */
  execArguments({ namespace, name }: PodName, argv: readonly string[]): string[] {
    return ['exec', '--quiet', `--namespace=${namespace}`, name, '--', ...argv];
  }

  /** What the container runtime calls the pod's first container. */
  async containerId({ namespace, name }: PodName): Promise<string> {
    const path = '--output=jsonpath={.status.containerStatuses[0].containerID}';
    const uri = await this.text('get', 'pod', name, `--namespace=${namespace}`, path);
    return uri.replace('containerd://', '');
  }

  logs({ namespace, name }: PodName, ...more: string[]): Promise<string> {
    return this.text('logs', `--namespace=${namespace}`, name, ...more);
  }
}
