/** An API server of a few lines: keeps what is applied, by path, and lets tests say how it reacts. */
import { type Api, type ApiRequest, ApiError } from '../../control/cluster/api.ts';

type Stored = Record<string, unknown> & { metadata: Record<string, unknown> };

export class FakeApi implements Api {
  readonly objects = new Map<string, Stored>();
  /** Every change, `PATCH /path` or `DELETE /path`, in order. */
  readonly changes: string[] = [];
  /** Answers to paths that are no object's; and what happens after a change. */
  readonly answers = new Map<string, unknown>();
  onChange: (change: string) => void = () => {};
  #version = 0;

  constructor() {
    for (const group of ['/api/v1', '/apis/apps/v1', '/apis/culvert.dev/v1', '/apis/policy/v1'])
      this.answers.set(group, {});
    for (const group of [
      'rbac.authorization.k8s.io',
      'networking.k8s.io',
      'apiextensions.k8s.io',
      'coordination.k8s.io',
    ])
      this.answers.set(`/apis/${group}/v1`, {});
  }

  async json({ method = 'GET', path, body }: ApiRequest): Promise<unknown> {
    await Promise.resolve();
    const [plain = '', query = ''] = path.split('?', 2);
    const there = this.objects.get(plain);
    if (method === 'PATCH') return this.#patch(plain, query, body as Stored);
    if (method === 'DELETE') {
      if (there === undefined) throw missing(path);
      this.objects.delete(plain);
      this.#changed(`DELETE ${plain}`);
      return {};
    }
    const found = method === 'GET' ? (there ?? this.answers.get(plain)) : this.answers.get(plain);
    if (found === undefined) throw missing(path);
    return structuredClone(found);
  }

  async lines(): Promise<void> {
    await Promise.reject(new Error('nobody watches here'));
  }

  #patch(path: string, query: string, body: Stored): unknown {
    const before = this.objects.get(path);
    const after: Stored = {
      ...before,
      ...structuredClone(body),
      metadata: { ...before?.metadata, ...body.metadata },
    };
    const same = before !== undefined && text(before) === text(after);
    after.metadata['resourceVersion'] = same ? before.metadata['resourceVersion'] : String(++this.#version);
    if (query.includes('dryRun=All')) return after;
    if (body['kind'] === 'CustomResourceDefinition')
      after['status'] = { conditions: [{ type: 'Established', status: 'True' }] };
    this.objects.set(path, after);
    if (!same) this.#changed(`PATCH ${path}`);
    return structuredClone(after);
  }

  #changed(change: string): void {
    this.changes.push(change);
    this.onChange(change);
  }
}

/** What whoever applies it has a say in. */
function text(object: Stored): string {
  const metadata = { ...object.metadata, resourceVersion: null };
  return JSON.stringify({ ...object, metadata, status: null });
}

function missing(path: string): ApiError {
  return new ApiError(404, 'NotFound', `${path}: not found`);
}
