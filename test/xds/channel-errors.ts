import { status } from '@grpc/grpc-js';
import t from 'tap';
import { describeError } from '../../base/errors.ts';
import { callError } from '../../xds/channel-errors.ts';
import type { ControlEndpoint } from '../../xds/channel.ts';

const endpoint: ControlEndpoint = {
  address: 'control:15012',
  rootPath: '/root.pem',
  tokenPath: '/token',
  serverName: 'culvert-control',
  headers: {},
};

const errorOf = (code: status, details: string) => callError({ code, details }, endpoint);

t.test('every outcome of a call has a code of ours, with what to check', async t => {
  const codes = {
    [status.UNAUTHENTICATED]: 'CONTROL_UNAUTHENTICATED',
    [status.PERMISSION_DENIED]: 'CONTROL_DENIED',
    [status.DEADLINE_EXCEEDED]: 'CONTROL_TIMEOUT',
    [status.UNIMPLEMENTED]: 'CONTROL_UNSUPPORTED',
    [status.UNAVAILABLE]: 'CONTROL_UNREACHABLE',
    [status.INTERNAL]: 'CONTROL_FAILED',
  };
  for (const [code, expected] of Object.entries(codes)) {
    const error = errorOf(Number(code), 'why');
    t.equal(error.code, expected);
    t.match(error.message, /^control:15012 .*: why$/);
    t.equal(error.fix === null, expected === 'CONTROL_FAILED');
  }
});

t.test('a certificate that does not do is told from a server that is away', async t => {
  for (const details of [
    'No connection established. Last error: Error: unable to verify the first certificate; if the root CA is ' +
      'installed locally, try running Node.js with --use-system-ca. Resolution note: ',
    "No connection established. Last error: Error: Hostname/IP does not match certificate's altnames: x. Resolution note: ",
    'No connection established. Last error: self-signed certificate in certificate chain (2026-01-01T00:00:00.000Z). Resolution note: ',
  ]) {
    const error = errorOf(status.UNAVAILABLE, details);
    t.equal(error.code, 'CONTROL_UNTRUSTED');
    t.notMatch(describeError(error), /No connection|Resolution|use-system-ca|2026-/);
  }
  for (const details of ['certificate is not yet valid', 'certificate has expired']) {
    const error = errorOf(
      status.UNAVAILABLE,
      `No connection established. Last error: Error: ${details}. Resolution note: `,
    );
    t.match(error, { code: 'CONTROL_CLOCK', fix: /clocks/ });
  }
  const away =
    'No connection established. Last error: Error: connect ECONNREFUSED 10.0.0.1:15012. Resolution note: ';
  t.equal(
    describeError(errorOf(status.UNAVAILABLE, away)),
    'CONTROL_UNREACHABLE: control:15012 cannot be reached: connect ECONNREFUSED 10.0.0.1:15012' +
      ' (check that the control plane runs and that no NetworkPolicy keeps this node from it)',
  );
});

t.test('a token that could not be read is our trouble and not the server’s', async t => {
  const error = errorOf(
    status.UNKNOWN,
    'Getting metadata from plugin failed with error: no token to show: ENOENT: no such file',
  );
  t.equal(error.code, 'CONTROL_TOKEN');
  t.equal(error.message, 'control:15012 was not asked: no token to show: ENOENT: no such file');
});
