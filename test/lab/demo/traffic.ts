/**
 * Other programs than curl, by name: Redis through its Service, SMTP whose server speaks first, names that the mesh
 * resolves. This machine has no cluster DNS and no kube-proxy; the agents do what those would.
 */
import { existsSync, readFileSync } from 'node:fs';
import { eventually } from '../eventually.ts';
import { serviceAddresses } from './cast.ts';
import { mailbox } from './programs.ts';
import type { Report } from './report.ts';
import type { Stage } from './stage.ts';

export async function otherPrograms(stage: Stage, report: Report): Promise<void> {
  report.section(
    'Other programs, through Services (no kube-proxy and no cluster DNS here: the agents know them)',
  );
  await web(stage, report);
  await redis(stage, report);
  await mail(stage, report);
}

async function web(stage: Stage, report: Report): Promise<void> {
  const url = 'http://web.shop/';
  const args = ['-sS', '--max-time', '5', '-w', '%{remote_ip}', url];
  const { stdout } = await stage.pod('batch').run('curl', args);
  const [page = '', address = ''] = stdout.split('\n');
  report.row('batch$', `curl ${url}  →  ${page} (web.shop is ${address})`);
}

async function redis(stage: Stage, report: Report): Promise<void> {
  const { value } = stage.secrets;
  const redisCli = async (from: 'front' | 'web', ...args: string[]): Promise<string> =>
    (await stage.pod(from).run('redis-cli', args)).stdout.trim();
  const set = ['-h', serviceAddresses.cache, 'set', 'cart', value];
  const stored = await redisCli('front', ...set);
  report.row(
    'front$',
    `redis-cli ${set.join(' ')}  →  ${report.expect(stored === 'OK', stored, stored)} (same node)`,
  );
  const get = ['-h', 'cache.shop', 'get', 'cart'];
  const got = await redisCli('web', ...get);
  report.row('web$', `redis-cli ${get.join(' ')}  →  ${report.expect(got === value, got, got)} (other node)`);
}

async function mail(stage: Stage, report: Report): Promise<void> {
  const { mail: secret } = stage.secrets;
  const parties = ['--mail-from', 'front@mail.shop', '--mail-rcpt', 'orders@mail.shop'];
  const args = ['-sS', '-v', '--max-time', '10', 'smtp://mail.shop', ...parties, '-T', '-'];
  const input = `From: front@mail.shop\nSubject: order\n\n${secret}\n`;
  const { stderr } = await stage.pod('front').run('curl', args, { input });
  const greeting = /^< (220 \S+ ESMTP \S+ \S+)/m.exec(stderr)?.[1] ?? 'no greeting';
  const box = mailbox(stage.lab.directory);
  await eventually(() => existsSync(box) && readFileSync(box, 'utf8').includes(secret), {
    what: 'the mail in its mailbox',
  });
  report.row('front$', `curl smtp://mail.shop ${parties.join(' ')} -T -`);
  report.row('', `→  the server speaks first, "${greeting}"; the mail is in its mailbox (other node)`);
}
