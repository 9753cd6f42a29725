/** The few things without which nothing can run here; says all that is missing at once. */
import { release } from 'node:os';
import { CulvertError } from '../base/errors.ts';

export function requireMachine(): void {
  const missing: string[] = [];
  if (process.platform !== 'linux') missing.push(`Linux (this is ${process.platform})`);
  else {
    const [major = 0, minor = 0] = release().split('.').map(Number);
    if (major < 5 || (major === 5 && minor < 15))
      missing.push(`Linux 5.15 or newer (this is ${release()}): boot a newer kernel`);
    if (process.getuid?.() !== 0) missing.push('root, or CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN: try sudo');
  }
  if (missing.length > 0) {
    throw new CulvertError('MACHINE_UNFIT', `this needs ${missing.join('; and ')}`, {
      fix: 'culvert check tells more',
    });
  }
}
