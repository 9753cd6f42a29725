/** Node, v1: only its topology labels are read, for locality-aware choice of endpoints. */
import type * as z from 'zod';
import { dnsSubdomain, metadata } from './metadata.ts';
import { struct } from './struct.ts';

export const node = struct({ metadata: metadata(dnsSubdomain) }, ['apiVersion', 'kind', 'spec', 'status']);

export type Node = z.output<typeof node>;
