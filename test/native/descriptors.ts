/** Descriptors that go to another process by a Unix socket, and who is at the other end of one. */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import * as native from '../../native/native.ts';
import { descriptor, directory, failure, runModule } from './fixtures.ts';

const addon = JSON.stringify(new URL('../../native/native.ts', import.meta.url).href);

t.test('what one process sends another one can use', async t => {
  const at = directory(t);
  const path = join(at, 'socket');
  const receiver = native.descriptorSocket(path);
  t.teardown(() => native.close(receiver));
  t.equal(statSync(path).mode & 0o777, 0o600, 'for its owner alone');
  const files = ['one', 'two'].map(name => join(at, name));
  for (const file of files) writeFileSync(file, file);
  runModule(`
    import { openSync } from 'node:fs';
    import { sendDescriptors } from ${addon};
    sendDescriptors(${JSON.stringify(path)}, ${JSON.stringify(files)}.map(file => openSync(file)));
  `);
  const received = native.receiveDescriptors(receiver);
  t.same(
    received.map(fd => readFileSync(fd, 'utf8')),
    files,
    'in the order in which they were sent, after their sender has ended',
  );
  for (const fd of received) closeSync(fd);
});

t.test('messages are not mixed, and an empty queue is an error', async t => {
  const path = join(directory(t), 'socket');
  const receiver = native.descriptorSocket(path);
  t.teardown(() => native.close(receiver));
  const many = Array.from({ length: 253 }, () => openSync('/dev/null', 'r'));
  native.sendDescriptors(path, [0]);
  native.sendDescriptors(path, many);
  for (const length of [1, 253]) {
    const received = native.receiveDescriptors(receiver);
    t.equal(received.length, length);
    for (const fd of received) closeSync(fd);
  }
  t.match(
    failure(() => native.receiveDescriptors(receiver)),
    { code: 'EAGAIN' },
  );
  for (const fd of many) t.ok(fstatSync(fd).isCharacterDevice(), 'they stay the sender’s');
  for (const fd of many) closeSync(fd);
});

t.test('what cannot be sent', async t => {
  const path = join(directory(t), 'socket');
  const receiver = native.descriptorSocket(path);
  t.teardown(() => native.close(receiver));
  t.match(
    failure(() => native.sendDescriptors(path, [])),
    { code: 'EINVAL' },
  );
  t.match(
    failure(() => native.sendDescriptors(path, [99_999])),
    { code: 'EBADF' },
  );
  t.match(
    failure(() => native.sendDescriptors(`${path}-none`, [0])),
    { code: 'ENOENT' },
  );
  t.match(
    failure(() => native.descriptorSocket(`/tmp/${'x'.repeat(120)}`)),
    { code: 'ENAMETOOLONG' },
  );
  t.ok(existsSync(path));
});

t.test('the user at the other end', async t => {
  const path = join(directory(t), 'socket');
  const server = createServer();
  t.teardown(() => server.close());
  await new Promise<void>(resolve => server.listen(path, resolve));
  const accepted = new Promise<Socket>(resolve => server.once('connection', resolve));
  const client = connect(path);
  const socket = await accepted;
  t.equal(native.peerUser(descriptor(socket)), process.getuid?.());
  client.destroy();
  socket.destroy();
  t.match(
    failure(() => native.peerUser(0)),
    { syscall: /SO_PEERCRED|PEERCRED/ },
  );
});
