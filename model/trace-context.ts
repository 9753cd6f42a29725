/**
 * To which trace a request belongs: W3C Trace Context, version 00 (https://www.w3.org/TR/trace-context/), and where there is
 * none, B3 in one header or several (https://github.com/openzipkin/b3-propagation). Pure.
 */
export interface TraceParent {
  /** 32 digits, hexadecimal. */
  readonly traceId: string;
  /** 16 digits: the span that the request is a part of. */
  readonly spanId: string;
  /** Null where it leaves that open. */
  readonly sampled: boolean | null;
}

const w3cPattern = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const b3Pattern = /^([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d])(?:-[0-9a-f]{16})?)?$/;
const idPattern = /^([0-9a-f]{16}|[0-9a-f]{32})$/;
const spanPattern = /^[0-9a-f]{16}$/;

/** Null for what is no traceparent, version ff and ids of zeros included. */
export function parseTraceparent(value: string): TraceParent | null {
  const [, id = '', span = '', flags = '', more] = w3cPattern.exec(value) ?? [];
  const version = value.slice(0, 2);
  if (version === 'ff' || (version === '00' && more !== undefined)) return null;
  return parent(id, span, (Number.parseInt(flags, 16) & 1) === 1);
}

/** The fields of B3 that a request has; absent ones are ''. */
export interface B3Fields {
  readonly b3: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly sampled: string;
  readonly flags: string;
}

export function parseB3(fields: B3Fields): TraceParent | null {
  if (fields.b3 !== '') {
    const [, id = '', span = '', state] = b3Pattern.exec(fields.b3.toLowerCase()) ?? [];
    return parent(id, span, state === undefined ? null : state !== '0');
  }
  const id = fields.traceId.toLowerCase();
  const span = fields.spanId.toLowerCase();
  if (!idPattern.test(id) || !spanPattern.test(span)) return null;
  // A debug flag asks for the trace whatever is said besides.
  if (fields.flags === '1') return parent(id, span, true);
  const said = fields.sampled.toLowerCase();
  return parent(id, span, said === '' ? null : said === '1' || said === 'true');
}

export function formatTraceparent(traceId: string, spanId: string, sampled: boolean): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`;
}

function parent(id: string, spanId: string, sampled: boolean | null): TraceParent | null {
  if (id === '' || spanId === '' || /^0+$/.test(id) || /^0+$/.test(spanId)) return null;
  return { traceId: id.padStart(32, '0'), spanId, sampled };
}
