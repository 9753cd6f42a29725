/** What options of commands that run something must be. Whoever wrote them is told of everything that is wrong, a line each. */
import { resolve } from 'node:path';
import { CulvertError } from '../base/errors.ts';
import { logLevels } from '../base/log.ts';
import { parseHostPort } from '../model/address.ts';
import type { ControlConfig, DirectoryConfig } from '../xds/sources.ts';

/** Where a process learns the mesh from, as it is written. */
export interface SourceOptions {
  readonly config?: string;
  readonly authority?: string;
  readonly control?: string;
  readonly controlRoot: string;
  readonly controlName?: string;
  readonly token: string;
  readonly clusterId: string;
}

export interface ControlSource {
  readonly kind: 'cluster';
  readonly control: ControlConfig;
}

export class OptionChecks {
  readonly problems: string[] = [];

  whole(option: string, text: string, least: number, most: number): number {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    this.problems.push(`--${option} ${text}: a whole number from ${least} to ${most} is needed`);
    return least;
  }

  port(option: string, text: string): number {
    return this.whole(option, text, 1, 65_535);
  }

  hostPort(option: string, text: string, example: string): void {
    if (parseHostPort(text) !== null) return;
    this.problems.push(`--${option} ${text}: host and port are needed, such as ${example}`);
  }

  logLevel(text: string): string {
    for (const part of text.split(',')) {
      const level = part.slice(part.indexOf('=') + 1);
      if (!(logLevels as readonly string[]).includes(level))
        this.problems.push(`--log-level ${part}: use one of ${logLevels.join(', ')}`);
    }
    return text;
  }

  /** A directory or a control plane, and never both: nobody could say which of them is right. */
  source(options: SourceOptions): DirectoryConfig | ControlSource {
    const { config, authority, control } = options;
    if ((config === undefined) === (control === undefined))
      this.problems.push(
        'give either --config with a directory, or --control with the address of a control plane',
      );
    if (control === undefined)
      return {
        kind: 'directory',
        directory: resolve(config ?? '.'),
        authority: authority === undefined ? null : resolve(authority),
      };
    this.hostPort('control', control, 'culvert-control.culvert-system.svc:15012');
    return {
      kind: 'cluster',
      control: {
        address: control,
        root: resolve(options.controlRoot),
        token: resolve(options.token),
        serverName: options.controlName ?? null,
        clusterId: options.clusterId,
      },
    };
  }

  /** Throws one BAD_USAGE where there was any problem. */
  end(command: string): void {
    if (this.problems.length === 0) return;
    throw new CulvertError('BAD_USAGE', this.problems.join('\n         '), { fix: `${command} --help` });
  }
}

/** File for access lines: '-' is standard output, '' is none. */
export function logFile(text: string): string {
  return text === '-' || text === '' ? text : resolve(text);
}
