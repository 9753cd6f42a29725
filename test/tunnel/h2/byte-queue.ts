/** Bytes come out as they went in, and small ones do not each cost an object. */
import * as fc from 'fast-check';
import t from 'tap';
import { ByteQueue } from '../../../tunnel/h2/byte-queue.ts';

t.test('first in, first out, whatever the sizes', async () => {
  const operation = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 300 }).map(bytes => ({ push: Buffer.from(bytes) })),
    fc.integer({ min: 4000, max: 20_000 }).map(length => ({ push: Buffer.alloc(length, length) })),
    fc.double({ min: 0, max: 1, noNaN: true }).map(part => ({ skip: part })),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 80 }), operations => {
      const queue = new ByteQueue();
      let model = Buffer.alloc(0);
      for (const operation of operations) {
        if ('push' in operation) {
          queue.push(operation.push);
          model = Buffer.concat([model, operation.push]);
        } else if (model.length > 0) {
          const head = queue.peek();
          if (head.length === 0 || !head.equals(model.subarray(0, head.length))) return false;
          const count = Math.ceil(operation.skip * head.length);
          queue.skip(count);
          model = model.subarray(count);
        }
        if (queue.length !== model.length) return false;
      }
      while (queue.length > 0) {
        const head = queue.peek();
        if (!head.equals(model.subarray(0, head.length))) return false;
        model = model.subarray(head.length);
        queue.skip(head.length);
      }
      return model.length === 0 && queue.peek().length === 0;
    }),
  );
});

t.test('small chunks are copied together, large ones kept', async t => {
  const queue = new ByteQueue();
  const small = Buffer.from('abc');
  t.equal(queue.push(small), false, 'a copy');
  small.fill('x');
  for (let i = 0; i < 1000; i += 1) queue.push(Buffer.from('d'));
  t.ok(queue.peek().length >= 1000, 'one piece');
  t.equal(queue.peek().toString('latin1', 0, 4), 'abcd');
  t.equal(queue.push(Buffer.alloc(4096)), true, 'kept as it is');
});
