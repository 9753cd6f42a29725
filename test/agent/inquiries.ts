import t from 'tap';
import { answerInquiry } from '../../agent/answer-inquiry.ts';
import { Inquiries } from '../../agent/inquiries.ts';
import type { FromShard } from '../../agent/messages.ts';
import type { MeshNames } from '../../agent/mesh-source.ts';
import type { CulvertError } from '../../base/errors.ts';

type Asked = Extract<FromShard, { type: 'inquire' }>;

function setup(limits: Partial<ConstructorParameters<typeof Inquiries>[0]> = {}) {
  const sent: Asked[] = [];
  const inquiries = new Inquiries(
    { inquiryMs: 60_000, hintMs: 60_000, inquiriesPerPod: 2, inquiries: 3, ...limits },
    message => {
      if (message.type === 'inquire') sent.push(message);
    },
  );
  const ended: (string | null)[] = [];
  const unknown = new Set<string>();
  const learn = (names: readonly string[], pod = 'a', patient = true): void => {
    for (const name of names) unknown.add(name);
    const needs = (): string[] => names.filter(name => unknown.has(name));
    inquiries.learn({
      pod,
      needs,
      patient,
      done: (error: CulvertError | null) => ended.push(error?.code ?? null),
    });
  };
  /** As if it had come with a change of the mesh. */
  const found = (name: string): boolean => unknown.delete(name);
  return { inquiries, sent, ended, learn, found };
}

t.test('what is known goes on at once', async t => {
  const { sent, ended, learn } = setup();
  learn([]);
  t.same(ended, [null]);
  t.same(sent, []);
});

t.test('what is unknown waits for its answer, and for what the answer leads to', async t => {
  const { inquiries, sent, ended, learn, found } = setup();
  learn(['web', 'waypoint']);
  t.match(sent, [{ id: 1, names: ['web', 'waypoint'], patient: true }]);
  t.same(ended, []);
  found('web');
  inquiries.answered(1, true, []);
  t.match(sent.slice(1), [{ id: 2, names: ['waypoint'] }]);
  t.same(ended, []);
  found('waypoint');
  inquiries.answered(2, true, []);
  t.same(ended, [null]);
  inquiries.answered(2, true, []);
  t.same(ended, [null], 'once');
});

t.test('what nothing has is asked for once, until it is forgotten', async t => {
  const { inquiries, sent, ended, learn } = setup();
  learn(['nothing']);
  inquiries.answered(1, true, ['nothing']);
  learn(['nothing']);
  t.same(ended, [null, null]);
  t.equal(sent.length, 1);
  inquiries.forget(['nothing']);
  learn(['nothing']);
  t.equal(sent.length, 2);
});

t.test('without an answer it is not guessed', async t => {
  const { inquiries, sent, ended, learn } = setup({ inquiryMs: 1 });
  learn(['web']);
  inquiries.answered(1, false, []);
  t.same(ended, ['INQUIRY_UNANSWERED']);
  // A deadline by itself keeps no process alive.
  const alive = setInterval(() => {}, 1_000);
  await new Promise<void>(done => {
    inquiries.learn({
      pod: 'a',
      needs: () => ['web'],
      patient: true,
      done: error => {
        t.equal(error?.code, 'INQUIRY_UNANSWERED', 'also when nobody says anything');
        done();
      },
    });
  });
  clearInterval(alive);
  t.equal(sent.length, 2, 'and asked for again');
});

t.test('answers that lead nowhere end', async t => {
  const { inquiries, sent, ended, learn } = setup();
  learn(['ghost']);
  for (let round = 1; ended.length === 0 && round < 10; round += 1) inquiries.answered(round, true, []);
  t.same(ended, ['INQUIRY_UNANSWERED']);
  t.ok(sent.length < 6);
});

t.test('a pod may have some waiting, and a shard', async t => {
  const { inquiries, ended, learn } = setup();
  learn(['1']);
  learn(['2']);
  learn(['3']);
  t.same(ended, ['INQUIRY_LIMIT']);
  learn(['4'], 'b');
  learn(['5'], 'c');
  t.same(ended, ['INQUIRY_LIMIT', 'INQUIRY_LIMIT']);
  inquiries.answered(1, true, ['1']);
  learn(['5'], 'c');
  t.same(ended.slice(2), [null]);
});

const names = (given: Partial<MeshNames>): MeshNames => ({
  reachable: true,
  want: async () => 'found',
  onGivenUp: () => {},
  ...given,
});
const how = { patient: true, timeoutMs: 60_000 };

t.test('the main thread: all names, and what there is of them', async t => {
  const want = async (name: string): Promise<'found' | 'missing'> => (name === 'a' ? 'found' : 'missing');
  t.same(await answerInquiry(names({ want }), ['a', 'b'], how), { answered: true, missing: ['b'] });
  t.same(await answerInquiry(null, ['a'], how), { answered: true, missing: ['a'] });
});

t.test('the main thread: a control plane that is away, or says nothing', async t => {
  const silent: MeshNames['want'] = (_, signal) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
  const away = names({ reachable: false, want: silent });
  t.same(await answerInquiry(away, ['a'], { patient: false, timeoutMs: 60_000 }), {
    answered: false,
    missing: [],
  });
  const half: MeshNames['want'] = (name, signal) =>
    name === 'a' ? Promise.resolve('missing') : silent(name, signal);
  // A timer of AbortSignal keeps no process alive.
  const alive = setInterval(() => {}, 1_000);
  t.same(await answerInquiry(names({ want: half }), ['a', 'b'], { patient: true, timeoutMs: 5 }), {
    answered: false,
    missing: ['a'],
  });
  clearInterval(alive);
});
