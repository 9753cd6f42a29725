/**
 * Asks the API server whose a token is (TokenReview, authentication.k8s.io/v1). What follows from the answer is
 * authenticate.ts; here it only gets its shape.
 */
import * as z from 'zod';
import type { TokenReviewStatus } from '../authenticate.ts';
import type { Api } from './api.ts';

/** Agents wait for it before they get anything. */
const timeoutMs = 10_000;

const answerSchema = z.object({
  status: z.object({
    authenticated: z.boolean().optional(),
    error: z.string().optional(),
    audiences: z.array(z.string()).optional(),
    user: z
      .object({
        username: z.string().optional(),
        /** Where a token is bound to a pod: its name and uid, and from Kubernetes 1.30 on its node. */
        extra: z.record(z.string(), z.array(z.string())).optional(),
      })
      .optional(),
  }),
});

/** Rejects when the server can't be asked; a token that it does not accept is an answer. */
export async function reviewToken(
  api: Api,
  token: string,
  audiences: readonly string[],
): Promise<TokenReviewStatus> {
  const answer = await api.json({
    method: 'POST',
    path: '/apis/authentication.k8s.io/v1/tokenreviews',
    body: {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, audiences },
    },
    timeoutMs,
  });
  return answerSchema.parse(answer).status;
}
