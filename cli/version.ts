/** `culvert version` */
import { versionString } from '../base/version.ts';

export function version(): void {
  process.stdout.write(`culvert ${versionString()} (Node ${process.versions.node})\n`);
}
