/** gRPC by the library that others use, at both ends: the four kinds of calls, and how they end otherwise than well. */
import net from 'node:net';
import grpc from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { eventually } from '../lab/eventually.ts';
import { World } from './world.ts';
import { route } from './world-objects.ts';

const text = {
  serialize: (value: string): Buffer => Buffer.from(value),
  deserialize: (bytes: Buffer): string => bytes.toString(),
};

function method(
  name: string,
  requestStream: boolean,
  responseStream: boolean,
): grpc.MethodDefinition<string, string> {
  return {
    path: `/test.Words/${name}`,
    requestStream,
    responseStream,
    requestSerialize: text.serialize,
    requestDeserialize: text.deserialize,
    responseSerialize: text.serialize,
    responseDeserialize: text.deserialize,
  };
}

const methods = {
  Once: method('Once', false, false),
  Collect: method('Collect', true, false),
  Count: method('Count', false, true),
  Chat: method('Chat', true, true),
  Wait: method('Wait', false, false),
};

/** What the server noticed. */
interface Noticed {
  readonly cancelled: string[];
  readonly deadlines: (number | Date)[];
}

function words(noticed: Noticed): grpc.Server {
  const server = new grpc.Server();
  server.addService(methods, {
    Once: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
      const [said] = call.metadata.get('x-say');
      if (call.request === 'refuse') {
        const metadata = new grpc.Metadata();
        metadata.set('x-why-bin', Buffer.from([0, 255]));
        done({ code: grpc.status.FAILED_PRECONDITION, details: 'später, 100 %', metadata });
        return;
      }
      const initial = new grpc.Metadata();
      initial.set('x-said', String(said));
      call.sendMetadata(initial);
      const trailer = new grpc.Metadata();
      trailer.set('x-last', 'word');
      done(null, call.request.toUpperCase(), trailer);
    },
    Collect: (call: grpc.ServerReadableStream<string, string>, done: grpc.sendUnaryData<string>) => {
      const all: string[] = [];
      call.on('data', (word: string) => all.push(word)).on('end', () => done(null, all.join(' ')));
    },
    Count: (call: grpc.ServerWritableStream<string, string>) => {
      call.on('cancelled', () => noticed.cancelled.push('Count'));
      for (let n = 1; n <= Number(call.request); n += 1) call.write(String(n));
      if (call.request !== '3') return;
      call.end();
    },
    Chat: (call: grpc.ServerDuplexStream<string, string>) => {
      call.on('data', (word: string) => call.write(`${word}?`)).on('end', () => call.end());
    },
    Wait: (call: grpc.ServerUnaryCall<string, string>) => {
      noticed.deadlines.push(call.getDeadline());
      call.on('cancelled', () => noticed.cancelled.push('Wait'));
    },
  });
  return server;
}

interface Stage {
  readonly world: World;
  readonly client: grpc.Client;
  readonly noticed: Noticed;
}

/** A client of gRPC whose connections come through the waypoint. */
async function stageOf(t: Test, isMeshed: boolean): Promise<Stage> {
  const world = await World.create({
    appProtocol: 'grpc',
    isMeshed,
    objects: route(
      '- { matches: [{ method: { service: test.Words } }], backendRefs: [{ name: web, port: 80 }] }',
      'GRPCRoute',
    ),
  });
  const noticed: Noticed = { cancelled: [], deadlines: [] };
  const server = words(noticed);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  await world.forward('web', port);
  const door = net.createServer({ allowHalfOpen: true }, socket => {
    socket.on('error', () => {});
    world.connect().then(
      tunnel => tunnel.pipe(socket).pipe(tunnel),
      () => socket.destroy(),
    );
  });
  await new Promise<void>(resolve => door.listen(0, '127.0.0.1', resolve));
  const { port: doorPort } = door.address() as net.AddressInfo;
  const client = new grpc.Client(`127.0.0.1:${doorPort}`, grpc.credentials.createInsecure());
  t.teardown(async () => {
    client.close();
    server.forceShutdown();
    door.close();
    await world[Symbol.asyncDispose]();
  });
  return { world, client, noticed };
}

interface Outcome {
  readonly value: string | null;
  readonly code: grpc.status;
  readonly details: string;
  readonly trailers: grpc.Metadata;
  readonly initial: grpc.Metadata;
}

function once(
  { client }: Stage,
  { path, requestSerialize, responseDeserialize }: grpc.MethodDefinition<string, string>,
  word: string,
  options: grpc.CallOptions & { metadata?: grpc.Metadata; cancelWhen?: Promise<unknown> } = {},
): Promise<Outcome> {
  const { metadata = new grpc.Metadata(), cancelWhen, ...rest } = options;
  return new Promise(resolve => {
    let value: string | null = null;
    let initial = new grpc.Metadata();
    const call = client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      word,
      metadata,
      rest,
      (_error, answer) => (value = answer ?? null),
    );
    call.on('metadata', (got: grpc.Metadata) => (initial = got));
    call.on('status', ({ code, details, metadata: trailers }: grpc.StatusObject) =>
      setImmediate(() => resolve({ value, code, details, trailers, initial })),
    );
    void cancelWhen?.then(() => call.cancel());
  });
}

for (const isMeshed of [false, true])
  void t.test(`the four kinds, to ${isMeshed ? 'a pod of the mesh' : 'any pod'}`, async t => {
    const stage = await stageOf(t, isMeshed);
    const { client } = stage;
    const metadata = new grpc.Metadata();
    metadata.set('x-say', 'hello');
    const unary = await once(stage, methods.Once, 'word', { metadata });
    t.match(unary, { value: 'WORD', code: grpc.status.OK });
    t.same([unary.initial.get('x-said'), unary.trailers.get('x-last')], [['hello'], ['word']]);

    const { path, requestSerialize, responseDeserialize } = methods.Collect;
    const collected = await new Promise((resolve, reject) => {
      const call = client.makeClientStreamRequest(path, requestSerialize, responseDeserialize, (error, all) =>
        error === null ? resolve(all) : reject(error),
      );
      for (const word of ['one', 'two', 'three']) call.write(word);
      call.end();
    });
    t.equal(collected, 'one two three');

    const counted: unknown[] = [];
    const count = client.makeServerStreamRequest(
      methods.Count.path,
      requestSerialize,
      responseDeserialize,
      '3',
    );
    for await (const number of count) counted.push(number);
    t.same(counted, ['1', '2', '3']);

    const chat = client.makeBidiStreamRequest(methods.Chat.path, requestSerialize, responseDeserialize);
    for (const word of ['a', 'b', 'c']) {
      chat.write(word);
      const heard = await new Promise(resolve => chat.once('data', resolve));
      t.equal(heard, `${word}?`, 'each answer comes before the next question');
    }
    const over = new Promise<grpc.StatusObject>(resolve => chat.once('status', resolve));
    chat.end();
    t.equal((await over).code, grpc.status.OK);
    t.match(await stage.world.line({ path: '/test.Words/Chat' }), { grpc_status: '0', protocol: 'HTTP/2' });
  });

void t.test('errors, deadlines, and calls that are cancelled', async t => {
  const stage = await stageOf(t, true);
  const refused = await once(stage, methods.Once, 'refuse');
  t.match(refused, { value: null, code: grpc.status.FAILED_PRECONDITION, details: 'später, 100 %' });
  t.same(refused.trailers.get('x-why-bin'), [Buffer.from([0, 255])], 'a status without a message');

  const late = await once(stage, methods.Wait, 'x', { deadline: Date.now() + 300 });
  t.equal(late.code, grpc.status.DEADLINE_EXCEEDED);
  t.ok(Number(stage.noticed.deadlines[0]) < Date.now() + 1_000, 'the server is told of it');

  const asked = stage.noticed.deadlines.length;
  const isAsked = eventually(() => stage.noticed.deadlines.length > asked, { what: 'the call' });
  const cancelled = await once(stage, methods.Wait, 'x', { cancelWhen: isAsked });
  t.equal(cancelled.code, grpc.status.CANCELLED);

  const { path, requestSerialize, responseDeserialize } = methods.Count;
  const endless = stage.client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, '5');
  endless.on('error', () => {});
  await new Promise(resolve => endless.once('data', resolve));
  endless.cancel();
  await eventually(() => stage.noticed.cancelled.length === 3, { what: 'that the server hears of it' });
  t.same(stage.noticed.cancelled.toSorted(), ['Count', 'Wait', 'Wait'], 'each time');

  const nowhere = await once(stage, { ...methods.Once, path: '/other.Words/Once' }, 'x');
  t.match(nowhere, { code: grpc.status.UNIMPLEMENTED, details: /NO_ROUTE/ }, 'what no route is for');
  stage.world.stopServing('web');
  const gone = await once(stage, methods.Once, 'x');
  t.equal(gone.code, grpc.status.UNAVAILABLE);
});
