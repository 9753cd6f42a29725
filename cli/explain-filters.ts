/** What each filter of a rule does to a request, in a line for people. */
import type { HeaderChange, HttpFilter } from '../model/http-route.ts';
import type { RateKey, RateLimit } from '../model/rate-limit.ts';

type Words = {
  readonly [Type in HttpFilter['type']]: (filter: Extract<HttpFilter, { readonly type: Type }>) => string;
};

const words: Words = {
  'request-headers': ({ change }) => `filter request-headers: ${changeWords(change)}`,
  'response-headers': ({ change }) => `filter response-headers: ${changeWords(change)}`,
  redirect: ({ redirect: { status, scheme, hostname, port, path } }) => {
    const to = [scheme, hostname, port === null ? null : `port ${port}`, path?.value ?? null];
    return `filter redirect: ${[status, ...to].filter(part => part !== null).join(', ')}`;
  },
  rewrite: ({ rewrite: { hostname, path } }) => {
    const to = [hostname, path?.value ?? null].filter(part => part !== null);
    return `filter rewrite: ${to.join(', ')}`;
  },
  mirror: ({ share, backend: { service, port } }) =>
    `filter mirror: ${100 * share} % also to ${service} port ${port}`,
  cors: ({ cors }) => `filter cors: ${cors.allowOrigins.join(', ')}`,
  fault: ({ fault: { delay, abort } }) => {
    const parts = [
      ...(delay === null ? [] : [`${100 * delay.share} % wait ${delay.ms} ms`]),
      ...(abort === null ? [] : [`${100 * abort.share} % are answered with ${abort.status}`]),
    ];
    return `filter fault: ${parts.join(', ')}`;
  },
  answer: ({ answer }) => `answered with ${answer.status}`,
  'rate-limit': ({ limit }) => `filter rate-limit: ${limitSentence(limit)}`,
};

export function filterSentence(filter: HttpFilter): string {
  // The type system can not know that a filter and the words for its type belong together.
  const say = words[filter.type] as (filter: HttpFilter) => string;
  return say(filter);
}

function changeWords({ set, add, remove }: HeaderChange): string {
  const parts = [
    ...set.map(([name, value]) => `${name}: ${value}`),
    ...add.map(([name, value]) => `+ ${name}: ${value}`),
    ...remove.map(name => `without ${name}`),
  ];
  return parts.join(', ');
}

export function limitSentence({ name, local, global }: RateLimit): string {
  const parts = local.map(({ requests, perMs, burst, by }) => {
    const apart = by.length === 0 ? '' : ` for each ${by.map(keyWords).join(' and ')}`;
    return `${requests} in ${perMs} ms${apart}, ${burst} at once`;
  });
  if (global !== null) {
    const asked = `${global.service} port ${global.port} is asked about ${global.domain}`;
    parts.push(`${asked}, and ${global.failClosed ? 'has to answer' : 'may be silent'}`);
  }
  return `limited by ${name}: ${parts.join('; ')}`;
}

function keyWords(key: RateKey): string {
  if (key.type === 'constant') return key.value;
  return key.type === 'header' ? `header ${key.name}` : key.type;
}
