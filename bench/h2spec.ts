/**
 * h2spec against tunnel/h2 as a server: everything of HTTP/2 that it can ask of one that takes CONNECT only.
 *
 *   node bench/h2spec.ts          needs Go, which builds h2spec into bench/build; some seconds
 *
 * The server here answers every method with 200, as h2spec knows no other, and ends a stream when its client has. It announces the frame
 * size that every connection begins with, since h2spec goes by that. What is to fail is listed with its reason;
 * anything else that fails, or does not fail any more, ends this with status 1.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CulvertError, describeError } from '../base/errors.ts';
import { command } from '../test/lab/commands.ts';
import { H2Connection } from '../tunnel/h2/connection.ts';
import type { H2Stream } from '../tunnel/h2/stream.ts';

const source = 'github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible';
const build = join(import.meta.dirname, 'build');
/** So that as many streams are open at a time as h2spec opens. */
const answerAfterMs = 30;

const noPriorities = 'RFC 9113 has no priorities (§5.3.2): they are ignored';
const noContent = 'a CONNECT has no content whose length could be wrong (§8.5), and nothing else is served';

/** Why a case fails, by what h2spec calls it. */
const expected: Readonly<Record<string, string>> = {
  'Sends a POST request with trailers': 'on a stream of CONNECT trailers are an error (§8.5)',
  'Sends HEADERS frame that depend on itself': noPriorities,
  'Sends PRIORITY frame that depend on itself': noPriorities,
  'Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame payload length':
    noContent,
  'Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the multiple DATA frames payload length':
    noContent,
};

async function answer(stream: H2Stream): Promise<void> {
  stream.handlers = { onData: () => true, onEnd: () => stream.end(), onReset() {}, onDrain() {} };
  await delay(answerAfterMs);
  stream.respond(200);
}

function accept(transport: net.Socket): void {
  const handlers = { onRequest: (stream: H2Stream) => void answer(stream), onClose() {} };
  void new H2Connection({ transport, role: 'server', settings: { maxFrameBytes: 16_384 }, handlers });
}

/** What h2spec prints. */
async function ask(port: number): Promise<string> {
  const child = spawn(join(build, 'h2spec'), ['--port', String(port), '--timeout', '1'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(child, 'close');
  return Buffer.concat(chunks).toString();
}

/** Throws H2SPEC for what is not as it is listed. */
function judge(output: string): string {
  const [counts] = /^\d+ tests, .*$/m.exec(output) ?? [];
  const failures = output.slice(output.indexOf('\nFailures:'));
  const failed = new Set([...failures.matchAll(/^\s+× \d+: (.*)$/gm)].map(([, title = '']) => title));
  const wrong = [...failed].filter(title => expected[title] === undefined);
  const right = Object.keys(expected).filter(title => !failed.has(title));
  if (counts === undefined || wrong.length > 0 || right.length > 0) {
    process.stdout.write(output);
    throw new CulvertError(
      'H2SPEC',
      `failed: ${wrong.join('; ')}. Passed, and listed as failing: ${right.join('; ')}`,
    );
  }
  return counts;
}

const server = net.createServer({ allowHalfOpen: true, noDelay: true }, accept);
try {
  await command('env', [`GOBIN=${build}`, 'go', 'install', source]);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const counts = judge(await ask((server.address() as net.AddressInfo).port));
  process.stdout.write(`${counts}\n`);
  for (const [title, why] of Object.entries(expected)) process.stdout.write(`  ${title}: ${why}\n`);
} catch (error) {
  process.stderr.write(`h2spec: ${describeError(error)}\n`);
  process.exitCode = 1;
} finally {
  server.close();
}
