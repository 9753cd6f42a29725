/** ServiceAccount, v1: that it exists, so that a policy which names one that does not can be pointed out. */
import type * as z from 'zod';
import { dnsSubdomain, metadata } from './metadata.ts';
import { struct } from './struct.ts';

export const serviceAccount = struct({ metadata: metadata(dnsSubdomain) }, [
  'apiVersion',
  'kind',
  'automountServiceAccountToken',
  'imagePullSecrets',
  'secrets',
]);

export type ServiceAccount = z.output<typeof serviceAccount>;
