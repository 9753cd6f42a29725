/** The HTTP server that is measured: nginx as a busy site would run it, answering 100 bytes from memory. */

const bodyBytes = 100;

/** @param scratch prefix of the paths that it may write to */
export function nginxConfiguration(port: number, scratch: string, workers: number): string {
  // Whoever wakes first would take them all.
  const shared = workers > 1 ? ' reuseport' : '';
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return [
    'daemon off;',
    'user root;',
    `worker_processes ${workers};`,
    `pid ${scratch}.pid;`,
    'error_log stderr warn;',
    'events { worker_connections 20000; }',
    'http {',
    '  access_log off;',
    '  keepalive_timeout 1h;',
    '  keepalive_requests 1000000000;',
    ...temporary.map(kind => `  ${kind}_temp_path ${scratch}-${kind};`),
    '  server {',
    `    listen ${port} backlog=4096${shared};`,
    `    listen [::]:${port} backlog=4096${shared};`,
    `    location / { return 200 "${'x'.repeat(bodyBytes)}"; }`,
    '  }',
    '}',
    '',
  ].join('\n');
}
