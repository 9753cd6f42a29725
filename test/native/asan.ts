/** The other tests of this folder, on a build that notices every byte touched out of place. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';

t.setTimeout(295_000);

t.test('AddressSanitizer has nothing to report', { timeout: 290_000 }, async t => {
  const script = join(import.meta.dirname, '../../native/asan.sh');
  const child = spawn('sh', [script], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => said.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  const code = await new Promise(resolve => child.once('close', resolve));
  const output = Buffer.concat(said).toString();
  t.equal(code, 0, output);
  t.match(output, /^no report of AddressSanitizer$/m);
});
