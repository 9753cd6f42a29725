import t from 'tap';
import {
  Authenticator,
  type AuthenticatorOptions,
  type TokenReviewStatus,
} from '../../control/authenticate.ts';
import { FakeClock } from '../tunnel/fake-clock.ts';

const agent: TokenReviewStatus = {
  authenticated: true,
  audiences: ['culvert-ca'],
  user: {
    username: 'system:serviceaccount:culvert-system:culvert-agent',
    extra: {
      'authentication.kubernetes.io/node-name': ['n1'],
      'authentication.kubernetes.io/pod-name': ['agent-x'],
      'authentication.kubernetes.io/pod-uid': ['u1'],
    },
  },
};

interface Made {
  readonly authenticator: Authenticator;
  readonly clock: FakeClock;
  readonly asked: string[];
}

function make(
  review: (token: string) => TokenReviewStatus | Promise<TokenReviewStatus>,
  options: Partial<AuthenticatorOptions> = {},
): Made {
  const clock = new FakeClock();
  const asked: string[] = [];
  const authenticator = new Authenticator({
    review: async token => {
      asked.push(token);
      return review(token);
    },
    clock,
    ...options,
  });
  return { authenticator, clock, asked };
}

/** A token that says when it ends. */
function jwt(expiresAt: number): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'RS256' })}.${part({ exp: expiresAt / 1_000 })}.c2ln`;
}

t.test('who calls, and from which node', async t => {
  const { authenticator } = make(() => agent);
  t.same(await authenticator.authenticate('Bearer good'), {
    serviceAccount: 'culvert-system/culvert-agent',
    namespace: 'culvert-system',
    name: 'culvert-agent',
    node: 'n1',
    podName: 'agent-x',
    podUid: 'u1',
  });
});

t.test('the node of a pod is looked up where tokens do not say it', async t => {
  const { 'authentication.kubernetes.io/node-name': _, ...extra } = agent.user?.extra ?? {};
  const older = { ...agent, user: { ...agent.user, extra } };
  const nodeOf = (namespace: string, name: string, uid: string): string | null =>
    `${namespace}/${name}/${uid}` === 'culvert-system/agent-x/u1' ? 'n7' : null;
  t.match(await make(() => older, { nodeOf }).authenticator.authenticate('Bearer good'), { node: 'n7' });
  t.match(await make(() => older).authenticator.authenticate('Bearer good'), { node: null });
  const bare = { ...agent, user: { username: agent.user?.username } };
  t.match(await make(() => bare, { nodeOf: () => 'n9' }).authenticator.authenticate('Bearer good'), {
    node: null,
    podName: null,
    podUid: null,
  });
});

t.test('what is no bearer token is not even asked about', async t => {
  const { authenticator, asked } = make(() => agent);
  for (const value of [
    null,
    '',
    'Bearer',
    'Bearer ',
    'Basic abc',
    'Bearer a b',
    `Bearer ${'x'.repeat(20_000)}`,
    'Bearer ä',
  ]) {
    await t.rejects(authenticator.authenticate(value), { code: 'AUTHENTICATION_MISSING', side: 'client' });
  }
  t.same(asked, []);
});

t.test('whatever the API server does not vouch for is refused', async t => {
  const { user } = agent;
  const bad: [status: TokenReviewStatus, message: RegExp][] = [
    [{}, /does not accept/],
    [{ authenticated: false, error: 'token has expired' }, /has expired/],
    [{ ...agent, audiences: ['other'] }, /the token is for other/],
    [{ ...agent, audiences: undefined }, /no audience/],
    [{ ...agent, user: { ...user, username: 'admin' } }, /admin is no service account/],
    [{ ...agent, user: { ...user, username: 'system:serviceaccount:a:b:c' } }, /no service account/],
    [{ ...agent, user: undefined }, /no service account/],
  ];
  for (const [status, message] of bad) {
    const { authenticator } = make(() => status);
    await t.rejects(authenticator.authenticate('Bearer x'), {
      code: 'AUTHENTICATION_REFUSED',
      side: 'client',
      message,
    });
  }
});

t.test('while the API server is away, a good judgement lasts as long as the token', async t => {
  let away = false;
  const { authenticator, clock } = make(
    token => {
      if (away) throw new Error('connection refused');
      return token === 'bad' ? { authenticated: false } : agent;
    },
    { acceptedMs: 60_000, refusedMs: 5_000 },
  );
  const good = `Bearer ${jwt(clock.now() + 3_600_000)}`;
  await authenticator.authenticate(good);
  await authenticator.authenticate('Bearer endless');
  await t.rejects(authenticator.authenticate('Bearer bad'), { code: 'AUTHENTICATION_REFUSED' });
  away = true;
  await clock.advance(3_599_999);
  t.match(await authenticator.authenticate(good), { node: 'n1' });
  for (const token of ['endless', 'bad', 'unknown'])
    await t.rejects(
      authenticator.authenticate(`Bearer ${token}`),
      { code: 'AUTHENTICATION_UNAVAILABLE' },
      token,
    );
  await clock.advance(1);
  await t.rejects(authenticator.authenticate(good), { code: 'AUTHENTICATION_UNAVAILABLE' });
});

t.test(
  'a judgement is believed for a while, a bad one shorter, and never beyond the end of the token',
  async t => {
    let status: TokenReviewStatus = agent;
    const { authenticator, clock, asked } = make(() => status, { acceptedMs: 60_000, refusedMs: 5_000 });
    await Promise.all([1, 2, 3].map(() => authenticator.authenticate('Bearer a')));
    t.equal(asked.length, 1, 'asked once for calls at once');
    await clock.advance(59_999);
    await authenticator.authenticate('Bearer a');
    t.equal(asked.length, 1);
    status = { authenticated: false };
    await clock.advance(1);
    await t.rejects(authenticator.authenticate('Bearer a'), { code: 'AUTHENTICATION_REFUSED' });
    await t.rejects(authenticator.authenticate('Bearer a'), { code: 'AUTHENTICATION_REFUSED' });
    t.equal(asked.length, 2);
    status = agent;
    await clock.advance(5_000);
    await authenticator.authenticate('Bearer a');
    t.equal(asked.length, 3);
    const ending = `Bearer ${jwt(clock.now() + 10_000)}`;
    await authenticator.authenticate(ending);
    await clock.advance(10_000);
    await authenticator.authenticate(ending);
    t.equal(asked.length, 5);
  },
);

t.test('an API server that is away is not a refusal, and not remembered', async t => {
  let isUp = false;
  const { authenticator, asked } = make(() => {
    if (!isUp) throw new Error('connect ECONNREFUSED');
    return agent;
  });
  await t.rejects(authenticator.authenticate('Bearer a'), {
    code: 'AUTHENTICATION_UNAVAILABLE',
    side: 'us',
    message: /ECONNREFUSED/,
  });
  isUp = true;
  await authenticator.authenticate('Bearer a');
  t.equal(asked.length, 2);
});

t.test('so many reviews at once, and so many calls that wait', async t => {
  const answers: (() => void)[] = [];
  const { authenticator, asked } = make(() => new Promise(resolve => answers.push(() => resolve(agent))), {
    concurrency: 2,
    maxWaiting: 1,
  });
  const calls = ['a', 'b', 'c'].map(token => authenticator.authenticate(`Bearer ${token}`));
  await t.rejects(authenticator.authenticate('Bearer d'), {
    code: 'AUTHENTICATION_UNAVAILABLE',
    message: /too many calls/,
  });
  t.same(asked, ['a', 'b']);
  answers.shift()?.();
  await calls[0];
  await new Promise(setImmediate);
  t.same(asked, ['a', 'b', 'c']);
  for (const answer of answers) answer();
  await Promise.all(calls);
});

t.test('an address that sends bad tokens is not asked about for long, and others are', async t => {
  const { authenticator, clock, asked } = make(
    token => (token === 'good' ? agent : { authenticated: false }),
    {
      refusals: { perSecond: 1, burst: 3 },
    },
  );
  for (let at = 0; at < 10; at += 1)
    await t.rejects(authenticator.authenticate(`Bearer x${at}`, '10.0.0.1'), {
      code: 'AUTHENTICATION_REFUSED',
    });
  t.equal(asked.length, 3);
  await authenticator.authenticate('Bearer good', '10.0.0.2');
  t.equal(asked.length, 4);
  await authenticator.authenticate('Bearer good', '10.0.0.1');
  t.equal(asked.length, 4, 'what is known to be good is good from anywhere');
  await t.rejects(authenticator.authenticate('Bearer better', '10.0.0.1'), { message: /same address/ });
  await clock.advance(1_000);
  await t.rejects(authenticator.authenticate('Bearer y', '10.0.0.1'), { code: 'AUTHENTICATION_REFUSED' });
  t.equal(asked.length, 5);
});

t.test('memory for judgements is bounded', async t => {
  const { authenticator, asked } = make(() => agent, { maxRemembered: 2 });
  for (const token of ['a', 'b', 'c', 'b', 'c']) await authenticator.authenticate(`Bearer ${token}`);
  t.same(asked, ['a', 'b', 'c']);
  await authenticator.authenticate('Bearer a');
  t.same(asked, ['a', 'b', 'c', 'a']);
});
