/** How a DestinationRule has endpoints spoken to by TLS: `tls`. */
import * as z from 'zod';

const path = z.string().max(1024);

export const clientTls = z.strictObject({
  mode: z
    .enum(['DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL'])
    .describe(
      'SIMPLE: the endpoint proves who it is. MUTUAL: both do. ISTIO_MUTUAL: only endpoints that a tunnel leads to.',
    )
    .default('DISABLE'),
  clientCertificate: path.describe('File of the waypoint: its certificate and chain.').optional(),
  privateKey: path.describe('File of the waypoint: its key.').optional(),
  caCertificates: path
    .describe(
      'File of the waypoint: who vouches for the endpoint. Without it, and for `system`: the machine’s.',
    )
    .optional(),
  credentialName: z
    .string()
    .max(253)
    .describe('A Secret of the namespace of the rule, in place of the files: tls.crt, tls.key, ca.crt.')
    .optional(),
  subjectAltNames: z
    .array(z.string().max(2048))
    .max(256)
    .describe('Names, one of which the endpoint proves; without any, the one that is said to it.')
    .optional(),
  sni: z.string().max(253).describe('Said to the endpoint; without it the host.').optional(),
  insecureSkipVerify: z.boolean().describe('Whoever answers is believed.').optional(),
  caCrl: path.describe('File of the waypoint: certificates that are no longer valid.').optional(),
});
