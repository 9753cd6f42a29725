/**
 * The programs in the pods, as Debian and Ubuntu package them: nginx, Redis, and Exim, which speaks before its client.
 *
 * None of them knows of the mesh. Each gets a configuration of its own in the lab's directory and stays in the
 * foreground, so that it ends with its pod.
 */
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LabPod } from '../pod.ts';
import type { LabProcess } from '../process.ts';
import { ports } from './cast.ts';

/**
 * Answers every request with a line of text and the address that it sees its client at, and /trace with the trace it is of.
 * @param more further locations, with what nginx shall do there
 */
export async function startNginx(
  pod: LabPod,
  directory: string,
  text: string,
  more: Readonly<Record<string, string>> = {},
): Promise<LabProcess> {
  const scratch = join(directory, `nginx-${pod.name}`);
  const locations = { '/': `return 200 "${text}, served to $remote_addr\\n";`, '/trace': trace, ...more };
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const path = `${scratch}.conf`;
  writeFileSync(
    path,
    [
      'daemon off;',
      'user root;',
      'worker_processes 1;',
      `pid ${scratch}.pid;`,
      'error_log stderr warn;',
      'events { worker_connections 1000; }',
      'http {',
      '  access_log off;',
      '  default_type text/plain;',
      ...temporary.map(kind => `  ${kind}_temp_path ${scratch}-${kind};`),
      '  server {',
      `    listen ${ports.web};`,
      ...Object.entries(locations).map(([path, does]) => `    location ${path} { ${does} }`),
      '  }',
      '}',
      '',
    ].join('\n'),
  );
  return listening(pod.spawn('nginx', ['-c', path]), ports.web);
}

const trace = 'return 200 "$http_traceparent\\n";';

export async function startRedis(pod: LabPod, directory: string): Promise<LabProcess> {
  const flags = ['--port', String(ports.cache), '--bind', '0.0.0.0', '--protected-mode', 'no', '--save', ''];
  return listening(pod.spawn('redis-server', [...flags, '--dir', directory]), ports.cache);
}

/** An SMTP server that puts what it gets into a mailbox file. */
export async function startExim(pod: LabPod, directory: string): Promise<LabProcess> {
  const spool = join(directory, 'exim');
  const path = join(directory, 'exim.conf');
  writeFileSync(
    path,
    [
      'primary_hostname = mail.shop',
      `spool_directory = ${spool}`,
      `log_file_path = ${spool}/%slog`,
      'local_interfaces = 0.0.0.0',
      `daemon_smtp_ports = ${ports.mail}`,
      'domainlist local_domains = mail.shop',
      'acl_smtp_rcpt = recipient',
      // It must not ask the network about its clients, nor be root when it delivers.
      'host_lookup =',
      'rfc1413_query_timeout = 0s',
      'tls_advertise_hosts =',
      'keep_environment =',
      'deliver_drop_privilege',
      'begin acl',
      'recipient:',
      '  accept domains = +local_domains',
      'begin routers',
      'all:',
      '  driver = accept',
      '  transport = mailbox',
      'begin transports',
      'mailbox:',
      '  driver = appendfile',
      `  file = ${mailbox(directory)}`,
      `  user = ${eximUser}`,
      '',
    ].join('\n'),
  );
  mkdirSync(spool);
  const { uid, gid } = accountOf(eximUser);
  chownSync(spool, uid, gid);
  // Exim leaves root behind, and must still be able to reach its spool.
  chmodSync(directory, statSync(directory).mode | 0o011);
  return listening(pod.spawn('exim4', ['-C', path, '-bdf']), ports.mail);
}

export function mailbox(directory: string): string {
  return join(directory, 'exim', 'mailbox');
}

/** The account that the package makes. */
const eximUser = 'Debian-exim';

function accountOf(user: string): { uid: number; gid: number } {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find(candidate => candidate.startsWith(`${user}:`));
  const [, , uid, gid] = (line ?? '').split(':').map(Number);
  return { uid: uid ?? 0, gid: gid ?? 0 };
}

async function listening(program: LabProcess, port: number): Promise<LabProcess> {
  await program.listensOn(port);
  return program;
}
