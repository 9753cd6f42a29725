/** The sessionPersistence of a rule: how a client is tied to the endpoint that answered it, and for how long. */
import { hash32 } from '../model/hash-table.ts';
import type { HttpSession } from '../model/http-route.ts';
import { routeDurationMs, type SessionPersistence } from '../model/kinds/route-parts.ts';
import type { RouteScope } from './build-route-scope.ts';

/** Null where the rule has none. */
export function sessionOf(
  scope: RouteScope,
  { sessionPersistence: spec }: { readonly sessionPersistence?: SessionPersistence | undefined },
  field: string,
): HttpSession | null {
  if (spec === undefined) return null;
  const { sessionName, absoluteTimeout, idleTimeout, type, cookieConfig, cookie, header } = spec;
  if (idleTimeout !== undefined) {
    const message = 'not looked at: a session ends with absoluteTimeout, or with that of the client';
    scope.say('warning', 'unsupported-value', `${field}.sessionPersistence.idleTimeout`, message);
  }
  const limitMs = routeDurationMs(absoluteTimeout ?? '0s');
  const absoluteMs = limitMs === 0 ? null : limitMs;
  if (header !== undefined || type === 'Header') {
    const name = (header?.name ?? sessionName ?? 'x-culvert-session').toLowerCase();
    return { type: 'header', name, path: '/', keepMs: null, absoluteMs };
  }
  const { lifetimeType = 'Session' } = cookie ?? cookieConfig ?? {};
  // Rules of one host must not take each other's cookies for their own.
  const { kind, namespace, name: route } = scope.object;
  const unique = hash32(`${kind} ${namespace}/${route} ${field}`).toString(36);
  return {
    type: 'cookie',
    name: cookie?.name ?? sessionName ?? `culvert-session-${unique}`,
    path: cookie?.path ?? '/',
    keepMs: lifetimeType === 'Permanent' ? absoluteMs : null,
    absoluteMs,
  };
}
