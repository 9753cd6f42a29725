/**
 * With `--kernel-path join` the kernel joins the two sockets of a leg, ours and the application's, as it does with passages: messages
 * skip TCP between them, and are read, written and counted here all the same.
 *
 * Joined late and by choice of the agent: a leg that has carried a few small messages is likely to carry more, and by then
 * the application's socket is what it will be (many programs connect without blocking, and block from then on). What
 * moves much at a time gains nothing, and a short connection pays nothing. bpf/leg.bpf.c has the kernel's side.
 */
import { describeError } from '../base/errors.ts';
import * as native from '../native/native.ts';
import { encodeLeg, legAnswers } from './kernel-path-abi.ts';
import type { Pod } from './pod.ts';
import type { Endpoint } from './redirect-abi.ts';
import type { ShardContext } from './shard-context.ts';

/** Messages, both ways together, after which a leg is worth joining. */
const enoughMessages = 6;
/** A longer one is part of a transfer. */
const messageBytes = 16_384;

/** Looks at a leg until it is known what becomes of it; undefined as long as it is not. */
export type Joining = (bytes: number) => boolean | undefined;

/**
 * Joins a leg inside `pod` when that pays. To be told of all that passes, in either direction; says once whether it is joined.
 * Null where legs are not joined.
 * @param application the other end
 */
export function joining(context: ShardContext, pod: Pod, fd: number, application: Endpoint): Joining | null {
  const { legProgram } = context;
  if (legProgram === null) return null;
  let messages = 0;
  return bytes => {
    if (bytes <= messageBytes) messages += 1;
    if (messages < enoughMessages) return undefined;
    try {
      return pod.gone ? false : joinLeg(legProgram, pod.netnsFd, fd, application);
    } catch (error) {
      context.count('LEG_NOT_JOINED');
      context.log.warn(
        { code: 'LEG_NOT_JOINED', pod: pod.name, err: describeError(error) },
        'leg not joined',
      );
      return false;
    }
  };
}

/**
 * Joins a socket of ours and the application's that it is connected with. False: they stay as they are, the application's is
 * not fit. Undefined: it has not accepted the connection yet, and may be asked about again. Throws NativeError.
 */
export function joinLeg(
  program: number,
  netnsFd: number,
  fd: number,
  application: Endpoint,
): boolean | undefined {
  const agent = native.socketAddress(fd);
  const answer = native.runProgram(program, netnsFd, encodeLeg(newId(), application, agent));
  return answer === legAnswers.later ? undefined : answer === legAnswers.joined;
}

const wordValues = 2 ** 32;

/** Even, and not in use: shards and passages draw from the same 63 bits. */
function newId(): bigint {
  const word = (): bigint => BigInt(Math.trunc(Math.random() * wordValues));
  return ((word() << 32n) | word()) & ~1n;
}
