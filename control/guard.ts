/**
 * The gate before every call: who calls is known, and may call this, before a single byte of the call is read.
 *
 * One interceptor for all services, so that none can forget it. A handler asks `callerOf` who it was.
 */
import {
  Metadata,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  status,
} from '@grpc/grpc-js';
import { CulvertError, asCulvertError, describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Authenticator, Caller } from './authenticate.ts';
import { Rate } from './rate.ts';

/** Refusals in the log; all of them are counted. Who floods us must not flood the log as well. */
const maxLines = { perSecond: 5, burst: 50 };

export interface GuardOptions {
  readonly authenticator: Authenticator;
  /** Whether the caller may call a method, by its path (`/package.Service/Method`). */
  readonly mayCall: (caller: Caller, path: string) => boolean;
  readonly log: Logger;
}

export interface Guard {
  readonly interceptor: ServerInterceptor;
  /** Who makes the call with this metadata. Throws for one that has not come through the guard. */
  readonly callerOf: (metadata: Metadata) => Caller;
}

export function makeGuard({ authenticator, mayCall, log }: GuardOptions): Guard {
  const callers = new WeakMap<Metadata, Caller>();
  const lines = new Rate(maxLines, Date.now());
  const admit = async (metadata: Metadata, path: string, address: string): Promise<void> => {
    const caller = await authenticator.authenticate(authorizationOf(metadata), address);
    if (!mayCall(caller, path)) {
      throw new CulvertError('CALL_FORBIDDEN', `${caller.serviceAccount} may not call ${path}`, {
        side: 'client',
        fix: 'add the service account to those that may be agents, if it is one',
      });
    }
    callers.set(metadata, caller);
  };
  return {
    interceptor: ({ path }, call) =>
      new ServerInterceptingCall(call, {
        start: next => {
          const listener = new ServerListenerBuilder()
            .withOnReceiveMetadata((metadata, proceed) => {
              const { remoteAddress = '' } = call.getConnectionInfo();
              admit(metadata, path, remoteAddress).then(
                () => proceed(metadata),
                (thrown: unknown) => {
                  const error = asCulvertError(thrown, 'AUTHENTICATION_UNAVAILABLE');
                  if (!lines.isEmpty(Date.now())) {
                    lines.take(Date.now());
                    log.warn({ code: error.code, method: path, src: remoteAddress }, describeError(error));
                  }
                  call.sendStatus(statusOf(error));
                },
              );
            })
            .build();
          next(listener);
        },
      }),
    callerOf: metadata => {
      const caller = callers.get(metadata);
      if (caller === undefined) throw new Error('a call has come past the guard');
      return caller;
    },
  };
}

/** Null when there is not exactly one. */
function authorizationOf(metadata: Metadata): string | null {
  const [first, ...more] = metadata.get('authorization');
  return typeof first === 'string' && more.length === 0 ? first : null;
}

/** What the client hears of it: not why. */
function statusOf(error: CulvertError): { code: status; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  if (error.side !== 'client') return { code: status.UNAVAILABLE, details: 'try again', metadata };
  return error.code === 'CALL_FORBIDDEN'
    ? { code: status.PERMISSION_DENIED, details: 'not allowed', metadata }
    : { code: status.UNAUTHENTICATED, details: 'not authenticated', metadata };
}
