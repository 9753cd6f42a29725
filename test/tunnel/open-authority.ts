/** Child of authority-file.ts: opens the authority as an agent does, and prints which root it got. */
import { Authority } from '../../tunnel/authority.ts';

const authority = Authority.open({ path: process.argv[2] ?? '' });
process.stdout.write(`${authority.status().roots[0]?.fingerprint ?? 'none'}\n`);
