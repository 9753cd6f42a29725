/** Which fields may follow a request. */
import t from 'tap';
import { announcesTrailers, passableTrailers } from '../../model/trailers.ts';

t.test('what says how a message is read, where it goes or who sends it is left out', t => {
  const names = [
    'Content-Length',
    'transfer-encoding',
    'HOST',
    'Authorization',
    'cookie',
    'X-Forwarded-For',
    'traceparent',
    ':path',
    'a b',
    'Trailer',
    'content-type',
  ];
  t.same(passableTrailers(names.flatMap(name => [name, '1'])), []);
  t.same(passableTrailers(['X-Sum', '1', 'grpc-status', '0', 'host', 'a']), [
    'X-Sum',
    '1',
    'grpc-status',
    '0',
  ]);
  t.end();
});

t.test('they are announced, and need pieces', t => {
  t.ok(announcesTrailers(['Trailer', 'x-sum']));
  t.notOk(announcesTrailers(['Trailer', 'x-sum', 'Content-Length', '4']));
  t.notOk(announcesTrailers(['x-a', 'b']));
  t.end();
});
