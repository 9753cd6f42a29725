/** What the failure of a call to a control plane means for who runs the mesh. */
import { status } from '@grpc/grpc-js';
import type { StatusObject } from '@grpc/grpc-js';
import { CulvertError } from '../base/errors.ts';
import { tokenTrouble } from './channel.ts';
import type { ControlEndpoint } from './channel.ts';

/** Of a call that ended otherwise than well. */
export function callError(
  { code, details: given }: Pick<StatusObject, 'code' | 'details'>,
  endpoint: ControlEndpoint,
): CulvertError {
  const details = plainDetails(given);
  const { address, rootPath, serverName, tokenPath } = endpoint;
  const failure = (codeWord: string, what: string, fix: string | null): CulvertError =>
    new CulvertError(codeWord, `${address} ${what}: ${details}`, { side: 'server', fix });
  if (details.includes(tokenTrouble)) {
    return failure('CONTROL_TOKEN', 'was not asked', 'check the projected token volume of this pod');
  }
  switch (code) {
    case status.UNAUTHENTICATED:
      return failure(
        'CONTROL_UNAUTHENTICATED',
        'does not believe who this is',
        tokenPath === null
          ? 'give this agent a token'
          : `check the audience of the token in ${tokenPath} and that it is of the control plane's cluster`,
      );
    case status.PERMISSION_DENIED:
      return failure(
        'CONTROL_DENIED',
        'refuses this',
        'check that this agent runs with the service account the control plane expects, on the node of the pod',
      );
    case status.DEADLINE_EXCEEDED:
      return failure('CONTROL_TIMEOUT', 'did not answer in time', 'check the load of the control plane');
    case status.UNIMPLEMENTED:
      return failure('CONTROL_UNSUPPORTED', 'does not speak this protocol', 'check the address');
    case status.UNAVAILABLE:
      if (clockWords.test(details)) {
        return failure(
          'CONTROL_CLOCK',
          'shows a certificate that is not of this time',
          'compare the clocks of this machine and of the control plane',
        );
      }
      if (certificateWords.test(details)) {
        return failure(
          'CONTROL_UNTRUSTED',
          'is not who it should be',
          `check that ${rootPath ?? 'the roots of this machine'} has the root of its certificate` +
            ` and that the certificate has the name ${serverName ?? 'it is reached by'}`,
        );
      }
      return failure(
        'CONTROL_UNREACHABLE',
        'cannot be reached',
        'check that the control plane runs and that no NetworkPolicy keeps this node from it',
      );
    default:
      return failure('CONTROL_FAILED', `failed (${status[code]})`, null);
  }
}

/** Without what gRPC and Node put around the reason. */
function plainDetails(details: string): string {
  return details
    .replace(
      /^(No connection established\. Last error|Getting metadata from plugin failed with error): (Error: )?/,
      '',
    )
    .replace(/;? ?(if the root CA is installed locally.*)?\.? ?Resolution note:.*$/s, '')
    .replace(/ \(\d{4}-\d\d-\d\dT[\d:.]+Z\)/, '')
    .trim();
}

/** The same for one that would do earlier or later. */
const clockWords =
  /certificate is not yet valid|certificate has expired|CERT_NOT_YET_VALID|CERT_HAS_EXPIRED/i;

/** Words of OpenSSL and Node for a certificate that doesn't do. */
const certificateWords =
  /certificate|altnames|self-signed|CERT_|ERR_TLS_CERT_ALTNAME_INVALID|unable to get local issuer/i;
