/**
 * PeerAuthentication, culvert.dev/v1 and security.istio.io/v1: whether a workload takes connections without identity.
 *
 * This is the shape only; which object wins for a workload is model/peer-authentication.ts.
 */
import * as z from 'zod';
import { parsePort } from '../address.ts';
import { dnsSubdomain, metadata, workloadSelector } from './metadata.ts';

const maxPorts = 512;

const mtls = z
  .strictObject({
    mode: z
      .enum(['UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT'])
      .describe('STRICT refuses plaintext, PERMISSIVE takes both, UNSET inherits from the wider scope.')
      .optional(),
  })
  .describe('Whether connections must carry an identity.');

const portKey = z
  .string()
  .refine(port => parsePort(port) !== null, 'a key is a port number of the workload, 1 to 65535');

export const peerAuthenticationSpec = z
  .strictObject({
    selector: workloadSelector.optional(),
    mtls: mtls.optional(),
    portLevelMtls: z
      .record(portKey, mtls)
      .refine(ports => Object.keys(ports).length <= maxPorts, `at most ${maxPorts} ports`)
      .describe('The same for single ports of the workload; needs a selector.')
      .meta({
        maxProperties: maxPorts,
        'x-kubernetes-validations': [
          {
            rule: "self.all(port, port.matches('^[1-9][0-9]{0,4}$') && int(port) <= 65535)",
            message: 'a key is a port number of the workload, 1 to 65535',
          },
        ],
      })
      .optional(),
  })
  .refine(
    spec => spec.portLevelMtls === undefined || Object.keys(spec.selector?.matchLabels ?? {}).length > 0,
    { message: 'portLevelMtls needs a selector with labels', path: ['portLevelMtls'] },
  )
  .meta({
    'x-kubernetes-validations': [
      {
        rule: '!has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0)',
        message: 'portLevelMtls needs a selector with labels',
      },
    ],
  });

export const peerAuthentication = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadata(dnsSubdomain),
  spec: peerAuthenticationSpec.default({}),
  status: z.unknown().optional(),
});

export type PeerAuthentication = z.output<typeof peerAuthentication>;
