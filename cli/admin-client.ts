/** Asks the administration port of a running agent. */
import http from 'node:http';
import { CulvertError } from '../base/errors.ts';
import { parseHostPort } from '../model/address.ts';

const timeoutMs = 10_000;

/** The JSON at `path`. Throws AGENT_UNREACHABLE or AGENT_REFUSED. */
export async function askAgent<T>(admin: string, path: string): Promise<T> {
  const target = parseHostPort(admin);
  if (target === null) throw new CulvertError('BAD_USAGE', `--admin ${admin}: not host:port`);
  const body = await new Promise<string>((resolve, reject) => {
    const unreachable = (cause: Error): void =>
      reject(
        new CulvertError('AGENT_UNREACHABLE', `no agent answers on ${admin}: ${cause.message}`, {
          fix: 'is it running, and is this its network namespace? --admin says where to ask',
          cause,
        }),
      );
    const request = http.get({ host: target.host, port: target.port, path, timeout: timeoutMs }, response => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('error', unreachable);
      response.on('end', () => {
        if (response.statusCode === 200) resolve(text);
        else
          reject(new CulvertError('AGENT_REFUSED', `${admin}${path}: ${response.statusCode} ${text.trim()}`));
      });
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    request.on('error', unreachable);
  });
  return JSON.parse(body) as T;
}
