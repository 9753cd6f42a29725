/** The command `culvert` as people run it, until it ends. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';

export interface Said {
  /** 0 where all is well. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const main = join(import.meta.dirname, '../../cli/main.ts');

export function culvert(...args: readonly string[]): Promise<Said> {
  return new Promise(resolve => {
    execFile(process.execPath, [main, ...args], (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}
