/**
 * RequestAuthentication, culvert.dev/v1 and security.istio.io/v1: whose tokens requests may carry, and how they are checked.
 *
 * This is the shape only; what becomes of it is model/token-rule.ts.
 */
import * as z from 'zod';
import { dnsSubdomain, metadata, workloadSelector } from './metadata.ts';
import { attachedOnceRule, attachedTwice, isAttachedOnce, targetRef } from './targets.ts';

const maxItems = 64;
const headerName = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/, 'is the name of a header');
const url = z
  .string()
  .max(2048)
  .regex(
    /^https?:\/\/[^\s/?#@]+([/?][^\s#]*)?$/,
    'a URL begins with https:// or http:// and has no user and no fragment',
  );

const jwtRule = z
  .strictObject({
    issuer: z.string().min(1).max(2048).describe('The `iss` of tokens.'),
    audiences: z
      .array(z.string().min(1).max(2048))
      .max(maxItems)
      .describe('One of these has to be in `aud`; without any, all are taken.')
      .optional(),
    jwksUri: url
      .describe("Where the issuer's keys are; without it and jwks, they are found by OpenID discovery.")
      .optional(),
    jwks: z.string().max(262_144).describe('The keys themselves, as JSON.').optional(),
    jwks_uri: url.describe('Old spelling of jwksUri.').optional(),
    fromHeaders: z
      .array(
        z.strictObject({
          name: headerName.describe('Name of the header.'),
          prefix: z.string().max(256).describe('What stands before the token.').optional(),
        }),
      )
      .max(maxItems)
      .describe('Headers that may hold the token.')
      .optional(),
    fromParams: z
      .array(z.string().min(1).max(256))
      .max(maxItems)
      .describe('Query parameters that may hold the token.')
      .optional(),
    fromCookies: z
      .array(z.string().min(1).max(256))
      .max(maxItems)
      .describe('Cookies that may hold the token.')
      .optional(),
    outputPayloadToHeader: headerName
      .describe('Header that gets the payload, in base64url; what clients send under its name is removed.')
      .optional(),
    outputClaimToHeaders: z
      .array(
        z.strictObject({
          header: headerName.describe(
            'Header that gets the claim; what clients send under its name is removed.',
          ),
          claim: z.string().min(1).max(256).describe('Name of the claim; a dot leads into a map.'),
        }),
      )
      .max(maxItems)
      .describe('Claims that applications want to read.')
      .optional(),
    forwardOriginalToken: z.boolean().describe('Whether the application gets the token too.').default(false),
    timeout: z
      .string()
      .regex(/^[0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m)$/, 'a duration is a number and ms, s or m, such as 5s')
      .describe('For fetching keys; 5s without it.')
      .optional(),
    spaceDelimitedClaims: z
      .array(z.string().min(1).max(256))
      .max(maxItems)
      .describe('Claims whose text is a list, like `scope` and `permission`, which always are.')
      .optional(),
  })
  .refine(rule => [rule.jwks, rule.jwksUri, rule.jwks_uri].filter(given => given !== undefined).length <= 1, {
    message: 'jwks and jwksUri exclude each other',
    path: ['jwks'],
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: '(has(self.jwks) ? 1 : 0) + (has(self.jwksUri) ? 1 : 0) + (has(self.jwks_uri) ? 1 : 0) <= 1',
        message: 'jwks and jwksUri exclude each other',
      },
    ],
  });

export const requestAuthenticationSpec = z
  .strictObject({
    selector: workloadSelector.optional(),
    targetRef: targetRef.describe('Deprecated form of targetRefs with one entry.').optional(),
    targetRefs: z
      .array(targetRef)
      .max(16)
      .describe('The objects of a waypoint whose requests it is about; nodes read no tokens.')
      .optional(),
    jwtRules: z.array(jwtRule).max(maxItems).describe('Any of these may vouch for a token.').optional(),
  })
  .refine(isAttachedOnce, attachedTwice)
  .meta({
    'x-kubernetes-validations': [attachedOnceRule],
  });

export const requestAuthentication = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadata(dnsSubdomain),
  spec: requestAuthenticationSpec.default({}),
  status: z.unknown().optional(),
});

export type RequestAuthentication = z.output<typeof requestAuthentication>;
export type JwtRuleSpec = NonNullable<RequestAuthentication['spec']['jwtRules']>[number];
