/**
 * Proves that this kernel joins a leg that is open already (bpf/leg.bpf.c): two sockets of the agent on loopback, that
 * each message arrives as it was sent, and by the join. Runs behind the test of joins themselves (kernel-path-selftest.ts).
 */
import type net from 'node:net';
import { CulvertError } from '../base/errors.ts';
import * as native from '../native/native.ts';
import { joinLeg } from './leg-join.ts';
import { countOf } from './redirect-counters.ts';
import { fdOf, Listener } from './redirect-probe.ts';
import { loadLegProgram, type Maps } from './redirect-programs.ts';

const loopback = '127.0.0.1';
const messages = 200;
const deadlineMs = 2_000;

/** Throws what is wrong. The programs of the kernel path hang on `maps` and on this process, and joins are switched on. */
export async function proveLegs(maps: Maps, netnsFd: number): Promise<void> {
  const program = loadLegProgram(maps);
  try {
    await using listener = await Listener.open(netnsFd, 4);
    const [fd] = native.tcpSockets(netnsFd, 4, 1);
    if (fd === undefined) throw new CulvertError('SELF_TEST_NO_SOCKET', 'no socket');
    const { accepted, dialled } = await listener.meet(fd, { address: loopback, port: listener.port });
    try {
      await prove(maps, { program, netnsFd, accepted, dialled });
    } finally {
      accepted.destroy();
      dialled.destroy();
    }
  } finally {
    native.close(program);
  }
}

interface OpenLeg {
  readonly program: number;
  readonly netnsFd: number;
  readonly accepted: net.Socket;
  readonly dialled: net.Socket;
}

async function prove(maps: Maps, { program, netnsFd, accepted, dialled }: OpenLeg): Promise<void> {
  accepted.on('data', (chunk: Buffer) => accepted.write(chunk)).resume();
  await echo(dialled, 'before');
  const application = { address: loopback, port: accepted.remotePort ?? 0 };
  const before = countOf(maps, 'path_to_join');
  if (!joinLeg(program, netnsFd, fdOf(accepted), application)) throw wrong('an open leg was not joined');
  for (let count = 0; count < messages; count += 1) await echo(dialled, `message ${count}`);
  const entered = countOf(maps, 'path_to_join') - before;
  if (entered !== 2) throw wrong(`${entered} directions of a leg entered the join, of two`);
}

/** One message there and back. */
async function echo(socket: net.Socket, message: string): Promise<void> {
  const answer = Promise.withResolvers<string>();
  const timer = setTimeout(() => answer.reject(wrong(`"${message}" did not come back`)), deadlineMs);
  socket.once('data', (chunk: Buffer) => answer.resolve(chunk.toString()));
  socket.once('error', answer.reject);
  try {
    socket.write(message);
    const heard = await answer.promise;
    if (heard !== message) throw wrong(`"${message}" came back as "${heard}"`);
  } finally {
    clearTimeout(timer);
    socket.off('error', answer.reject);
  }
}

function wrong(why: string): CulvertError {
  return new CulvertError('SELF_TEST_WRONG', why);
}
