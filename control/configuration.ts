/**
 * The configuration in force: a watched directory, built anew at each change. What an agent without a cluster follows.
 */
import type { Logger } from '../base/log.ts';
import { describeError } from '../base/errors.ts';
import { build, type BuildResult } from './build.ts';
import { watchDirectory, type DirectoryState, type DirectoryWatch } from './directory.ts';
import { compareFindings, formatFinding, type Finding } from './finding.ts';

export interface ConfigurationState {
  readonly generation: number;
  /** Milliseconds since the epoch. */
  readonly appliedAt: number;
  readonly refusedFiles: number;
  readonly findings: Readonly<Record<Finding['severity'], number>>;
}

export class Configuration {
  readonly #log: Logger;
  readonly #stop = new AbortController();
  #watch: DirectoryWatch | null = null;
  #files: DirectoryState | null = null;
  #current: BuildResult | null = null;
  #appliedAt = 0;
  #said = new Set<string>();
  /** Told of every configuration after the first. */
  onChange: (built: BuildResult) => void = () => {};

  private constructor(log: Logger) {
    this.#log = log;
  }

  /** Reads the directory and follows it. Throws the directory's CulvertError when it can't be read at all. */
  static async open(directory: string, log: Logger): Promise<Configuration> {
    const configuration = new Configuration(log);
    const watch = await watchDirectory(directory, {
      signal: configuration.#stop.signal,
      onChange: state => {
        configuration.#adopt(state);
        configuration.onChange(configuration.current);
      },
      onError: error =>
        log.error({ err: describeError(error) }, 'a change of the configuration could not be taken in'),
    });
    configuration.#watch = watch;
    if (configuration.#files === null) configuration.#adopt(watch.current);
    return configuration;
  }

  get current(): BuildResult {
    if (this.#current === null) throw new Error('no configuration was read');
    return this.#current;
  }

  state(): ConfigurationState {
    const findings = { error: 0, warning: 0, info: 0 };
    for (const { severity } of this.findings()) findings[severity] += 1;
    return {
      generation: this.#files?.generation ?? 0,
      appliedAt: this.#appliedAt,
      refusedFiles: this.refusedFiles().length,
      findings,
    };
  }

  /** Files whose last edit is not in force. */
  refusedFiles(): string[] {
    return (this.#files?.files ?? []).filter(file => file.refused).map(file => file.path);
  }

  /** Of the files and of what they say together, by place. */
  findings(): Finding[] {
    return [...(this.#files?.findings ?? []), ...(this.#current?.findings ?? [])].sort(compareFindings);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#watch?.close();
  }

  #adopt(files: DirectoryState): void {
    this.#files = files;
    this.#current = build(files.objects);
    this.#appliedAt = Date.now();
    this.#log.info(
      { generation: files.generation, files: files.files.length, refused: this.refusedFiles().length },
      'configuration in force',
    );
    this.#sayFindings();
  }

  /** Each finding once, until it is gone and comes back. */
  #sayFindings(): void {
    const before = this.#said;
    this.#said = new Set();
    for (const finding of this.findings()) {
      const line = formatFinding(finding);
      this.#said.add(line);
      if (before.has(line)) continue;
      const { severity, code, file, line: at, field, object } = finding;
      const level = severity === 'warning' ? 'warn' : severity;
      this.#log[level]({ code, file, line: at, field, object }, finding.message);
    }
  }
}
