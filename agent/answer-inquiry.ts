/**
 * The main thread's side of what shards ask (inquiries.ts): each name is wanted of the control plane, and what it says has
 * been sent to the shards as a change of the mesh before they hear that there is an answer.
 */
import type { MeshNames } from './mesh-source.ts';

export interface InquiryAnswer {
  /** Whether the control plane has spoken about all of them. */
  readonly answered: boolean;
  /** Those that nothing has. */
  readonly missing: readonly string[];
}

/** @param patient wait for a control plane that is away */
export async function answerInquiry(
  source: MeshNames | null,
  names: readonly string[],
  { patient, timeoutMs }: { readonly patient: boolean; readonly timeoutMs: number },
): Promise<InquiryAnswer> {
  // Without a source of names everything is known: what is not there is not there.
  if (source === null) return { answered: true, missing: names };
  if (!patient && !source.reachable) return { answered: false, missing: [] };
  const signal = AbortSignal.timeout(timeoutMs);
  const answers = await Promise.allSettled(names.map(name => source.want(name, signal)));
  return {
    answered: answers.every(({ status }) => status === 'fulfilled'),
    missing: names.filter((_, index) => {
      const answer = answers[index];
      return answer?.status === 'fulfilled' && answer.value === 'missing';
    }),
  };
}
