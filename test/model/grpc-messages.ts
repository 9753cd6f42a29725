/** Messages of a gRPC stream are counted however the bytes are cut. */
import * as fc from 'fast-check';
import t from 'tap';
import { GrpcMessages } from '../../model/grpc-messages.ts';

t.test('any messages in any pieces', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(700), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 50 }),
      (lengths, cuts) => {
        const bytes = Buffer.concat(
          lengths.map(length => {
            const message = Buffer.alloc(5 + length, 1);
            message.writeUInt8(0, 0);
            message.writeUInt32BE(length, 1);
            return message;
          }),
        );
        const counter = new GrpcMessages();
        for (let at = 0, cut = 0; at < bytes.length; cut += 1) {
          const step = cuts[cut % cuts.length] ?? 1;
          counter.take(bytes.subarray(at, at + step));
          at += step;
        }
        return counter.count === lengths.length;
      },
    ),
  );
});

t.test('a prefix that is not whole is no message yet', async t => {
  const counter = new GrpcMessages();
  counter.take(Buffer.from([0, 0, 0, 0]));
  t.equal(counter.count, 0);
  counter.take(Buffer.from([0]));
  t.equal(counter.count, 1, 'an empty message');
});
