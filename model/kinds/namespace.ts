/** Namespace, v1: its labels say whether the pods in it are enrolled. */
import type * as z from 'zod';
import { dnsLabel, metadata } from './metadata.ts';
import { struct } from './struct.ts';

export const namespace = struct({ metadata: metadata(dnsLabel) }, ['apiVersion', 'kind', 'spec', 'status']);

export type Namespace = z.output<typeof namespace>;
