/**
 * Providers of MeshConfig: who is asked about requests that a CUSTOM policy matches. Of Istio's shape, as far as it says who
 * is asked and how.
 */
import * as z from 'zod';

import { portNumber } from './struct.ts';

const maxItems = 64;
const headerName = z
  .string()
  .regex(/^[A-Za-z0-9!#$%&'+\-.^_`|~]+$/, 'is the name of a header')
  .max(256);
const headerPatterns = z
  .array(
    z
      .string()
      .regex(/^\*?[A-Za-z0-9!#$%&'+\-.^_`|~]+\*?$/, 'is the name of a header, or x* or *x')
      .max(256),
  )
  .max(maxItems)
  .default([]);

const shared = {
  service: z
    .string()
    .regex(
      /^([a-z0-9-]+\/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/,
      'a service is a host name, or namespace/host name',
    )
    .max(320)
    .describe(
      'Host name of its Service or ServiceEntry; before a / its namespace, by default what follows the first dot.',
    ),
  port: portNumber.describe('Of the Service.'),
  timeout: z
    .string()
    .regex(/^[0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m)$/, 'a duration is a number and ms, s or m, such as 1s')
    .describe('For one answer.')
    .default('1s'),
  failOpen: z.boolean().describe('Whether requests pass while it can not be asked.').default(false),
  statusOnError: z
    .string()
    .regex(/^[1-5][0-9]{2}$/, 'a status is a quoted number such as "503"')
    .describe('What requests are answered with while it can not be asked.')
    .default('403'),
  includeRequestBodyInCheck: z
    .strictObject({
      maxRequestBytes: z.int().min(1).max(1_048_576).describe('More is not read.'),
      allowPartialMessage: z
        .boolean()
        .describe(
          'Whether it gets the beginning of a longer body; otherwise such requests are answered with 413.',
        )
        .default(false),
      packAsBytes: z.boolean().describe('Whether gRPC carries it as bytes, not as text.').default(false),
    })
    .describe('Without it, it gets no body.')
    .optional(),
};

export const extensionProvider = z
  .strictObject({
    name: z.string().min(1).max(253).describe('What policies call it.'),
    envoyExtAuthzGrpc: z
      .strictObject(shared)
      .describe('A server of envoy.service.auth.v3.Authorization.')
      .optional(),
    envoyExtAuthzHttp: z
      .strictObject({
        ...shared,
        pathPrefix: z
          .string()
          .regex(/^\/[!-~]*$/, 'a path begins with /')
          .max(1024)
          .describe('Comes before the path.')
          .optional(),
        includeRequestHeadersInCheck: headerPatterns.describe('Headers that it gets, besides Authorization.'),
        includeAdditionalHeadersInCheck: z
          .record(headerName, z.string().max(4096))
          .describe('Sent with every question.')
          .meta({ maxProperties: 32 })
          .default({}),
        headersToUpstreamOnAllow: headerPatterns.describe('Headers of its answer that the endpoint gets.'),
        headersToDownstreamOnAllow: headerPatterns.describe(
          'Headers of its answer that the client gets where it allows.',
        ),
        headersToDownstreamOnDeny: headerPatterns.describe(
          'Headers of its answer that the client gets where it denies; without any, all.',
        ),
      })
      .describe('A server that is asked with the request itself, and allows with 200.')
      .optional(),
  })
  .refine(
    provider => (provider.envoyExtAuthzGrpc === undefined) !== (provider.envoyExtAuthzHttp === undefined),
    {
      message: 'a provider has one of envoyExtAuthzGrpc and envoyExtAuthzHttp',
    },
  )
  .meta({
    'x-kubernetes-validations': [
      {
        rule: 'has(self.envoyExtAuthzGrpc) != has(self.envoyExtAuthzHttp)',
        message: 'a provider has one of envoyExtAuthzGrpc and envoyExtAuthzHttp',
      },
    ],
  });

export type ExtensionProvider = z.output<typeof extensionProvider>;
