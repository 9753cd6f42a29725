/**
 * A small API server for tests: real HTTP over objects in memory, lists in pages, watches with bookmarks and history, status
 * subresources, merge patches with preconditions. And everything that goes wrong with real ones, on request: forgotten
 * versions, silence, garbage, refusals, connections that break.
 */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KubeApi } from '../../../control/cluster/api.ts';
import { type FakeObject, FakeObjects, keyOf, merge, type Resource } from './fake-objects.ts';

interface Watch {
  readonly resource: Resource;
  readonly response: http.ServerResponse;
}

/** Answers a request in the server's place; true when it has. */
export type Interceptor = (request: http.IncomingMessage, response: http.ServerResponse) => boolean;

export class FakeApi extends FakeObjects implements AsyncDisposable {
  readonly #server = http.createServer((request, response) => void this.#serve(request, response));
  readonly #watches = new Set<Watch>();
  /** Requests as `METHOD path`, queries without their values' order changed. */
  readonly requests: string[] = [];
  intercept: Interceptor = () => false;
  /** Who a token belongs to, by the body of a TokenReview. */
  review: (spec: { token?: string; audiences?: string[] }) => unknown = () => ({ authenticated: false });
  connections = 0;
  /** Watches that were opened since the start. */
  opened = 0;

  constructor() {
    super();
    this.#server.on('connection', () => (this.connections += 1));
    this.#server.keepAliveTimeout = 60_000;
  }

  static async start(): Promise<FakeApi> {
    const fake = new FakeApi();
    await fake.listen(0);
    return fake;
  }

  async listen(port: number): Promise<void> {
    await new Promise<void>(resolve => this.#server.listen(port, '127.0.0.1', resolve));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** A client of this server, by a kubeconfig in `directory`. */
  client(directory: string): KubeApi {
    return KubeApi.load(this.kubeconfig(directory));
  }

  kubeconfig(directory: string): string {
    const path = join(directory, 'kubeconfig');
    const cluster = { server: `http://127.0.0.1:${this.port}`, 'insecure-skip-tls-verify': true };
    const config = {
      clusters: [{ name: 'fake', cluster }],
      users: [{ name: 'me', user: { token: 'secret' } }],
      contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'me', namespace: 'culvert-system' } }],
      'current-context': 'fake',
    };
    writeFileSync(path, JSON.stringify(config));
    return path;
  }

  /** Changes that nobody is told of, as while a watch is broken and its history lost. */
  silently(act: () => void): void {
    const watches = [...this.#watches];
    this.#watches.clear();
    act();
    for (const watch of watches) this.#watches.add(watch);
  }

  bookmark(plural: string): void {
    const bookmark = { metadata: { resourceVersion: String(this.version) } };
    for (const watch of this.#of(plural)) write(watch, 'BOOKMARK', bookmark);
  }

  /** Writes a raw line into the watches of a kind. */
  say(plural: string, line: string): void {
    for (const { response } of this.#of(plural)) response.write(`${line}\n`);
  }

  /** Ends the watches of a kind: `end` in order, `break` in the middle. */
  hangUp(plural: string, how: 'end' | 'break' = 'end'): void {
    for (const watch of this.#of(plural)) {
      this.#watches.delete(watch);
      if (how === 'end') watch.response.end();
      else watch.response.destroy();
    }
  }

  watching(plural: string): number {
    return this.#of(plural).length;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>(resolve => this.#server.close(() => resolve()));
    this.#watches.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.close();
  }

  #of(plural: string): Watch[] {
    return [...this.#watches].filter(({ resource }) => resource.plural === plural);
  }

  protected override publish(resource: Resource, type: string, object: FakeObject): void {
    super.publish(resource, type, object);
    for (const watch of this.#watches) if (watch.resource === resource) write(watch, type, object);
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://fake');
    this.requests.push(`${request.method} ${decodeURIComponent(`${url.pathname}${url.search}`)}`);
    if (this.intercept(request, response)) return;
    if (request.headers.authorization !== 'Bearer secret')
      return refuse(response, 401, 'Unauthorized', 'who are you?');
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const body = text === '' ? null : (JSON.parse(text) as Record<string, unknown>);
    if (url.pathname === '/apis') return answer(response, 200, this.#groups());
    if (url.pathname.endsWith('/tokenreviews'))
      return answer(response, 201, {
        ...body,
        status: this.review(body?.spec ?? {}),
      });
    const path =
      /^\/(?:api|apis\/[^/]+)\/(v[a-z0-9]+)(?:\/namespaces\/([^/]+)(?=\/))?(?:\/([^/]+)(?:\/([^/]+)(?:\/([^/]+))?)?)?$/.exec(
        url.pathname,
      );
    if (path === null)
      return refuse(response, 404, 'NotFound', 'the server could not find the requested resource');
    const [, version, namespace, plural, name, subresource] = path;
    const group = url.pathname.startsWith('/apis/') ? `${url.pathname.split('/')[2]}/` : '';
    const apiVersion = `${group}${version}`;
    if (plural === undefined) return this.#listResources(response, apiVersion);
    const resource = this.resources.get(`${apiVersion}/${plural}`);
    if (resource === undefined) return refuse(response, 404, 'NotFound', `no ${plural} here`);
    const isMetadata = (request.headers.accept ?? '').includes('as=PartialObjectMetadata');
    if (name === undefined && request.method === 'GET') {
      if (url.searchParams.get('watch') === '1') return this.#watch(resource, url.searchParams, response);
      return this.#list(resource, namespace, url.searchParams, isMetadata, response);
    }
    return this.#object(request, response, { resource, namespace, name, subresource, body });
  }

  #groups(): unknown {
    const versions = new Set(
      [...this.resources.values()].map(({ apiVersion }) => apiVersion).filter(it => it !== 'v1'),
    );
    const groups = Map.groupBy(versions, version => version.replace(/\/.*/, ''));
    return {
      kind: 'APIGroupList',
      groups: Array.from(groups, ([name, all]) => ({
        name,
        versions: all.map(groupVersion => ({ groupVersion })),
      })),
    };
  }

  #listResources(response: http.ServerResponse, apiVersion: string): void {
    const all = [...this.resources.values()].filter(resource => resource.apiVersion === apiVersion);
    if (all.length === 0) return refuse(response, 404, 'NotFound', `no ${apiVersion}`);
    const verbs = ['get', 'list', 'watch', 'patch'];
    answer(response, 200, {
      resources: all.flatMap(({ kind, plural, namespaced, status }) => [
        { name: plural, kind, namespaced, verbs },
        ...(status ? [{ name: `${plural}/status`, kind, namespaced, verbs: ['get', 'patch'] }] : []),
      ]),
    });
  }

  #list(
    resource: Resource,
    namespace: string | undefined,
    query: URLSearchParams,
    isMetadata: boolean,
    response: http.ServerResponse,
  ): void {
    const [version = this.version, offset = 0] = (query.get('continue') ?? '')
      .split('.')
      .filter(Boolean)
      .map(Number);
    if (version < this.forgotten) return refuse(response, 410, 'Expired', 'the continue token is too old');
    const all = [...resource.objects.values()].filter(
      ({ metadata }) => namespace === undefined || metadata.namespace === namespace,
    );
    const limit = Number(query.get('limit') ?? 0) || all.length;
    const items = all.slice(offset, offset + limit);
    const more = offset + limit < all.length ? `${version}.${offset + limit}` : '';
    answer(response, 200, {
      kind: `${isMetadata ? 'PartialObjectMetadata' : resource.kind}List`,
      metadata: { resourceVersion: String(version), continue: more },
      items: isMetadata ? items.map(({ metadata }) => ({ metadata })) : items,
    });
  }

  #watch(resource: Resource, query: URLSearchParams, response: http.ServerResponse): void {
    const from = Number(query.get('resourceVersion'));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const watch = { resource, response };
    if (from < this.forgotten) {
      const object = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' };
      response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
      return;
    }
    for (const { type, object } of this.since(resource, from)) write(watch, type, object);
    this.#watches.add(watch);
    this.opened += 1;
    response.on('close', () => this.#watches.delete(watch));
  }

  #object(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    target: {
      resource: Resource;
      namespace: string | undefined;
      name: string | undefined;
      subresource: string | undefined;
      body: Record<string, unknown> | null;
    },
  ): void {
    const { resource, namespace, subresource } = target;
    const body = (target.body ?? {}) as unknown as FakeObject;
    const name = target.name ?? body.metadata.name;
    const known = resource.objects.get(keyOf(namespace, name));
    if (request.method === 'POST') {
      if (known !== undefined) return refuse(response, 409, 'AlreadyExists', `${name} exists`);
      return answer(
        response,
        201,
        this.put(
          resource.plural,
          { ...body, metadata: { ...body.metadata, ...(namespace === undefined ? {} : { namespace }) } },
          resource.apiVersion,
        ),
      );
    }
    const isApply = request.headers['content-type'] === 'application/apply-patch+yaml';
    if (known === undefined && isApply) {
      const metadata = { ...body.metadata, ...(namespace === undefined ? {} : { namespace }) };
      return answer(response, 201, this.put(resource.plural, { ...body, metadata }, resource.apiVersion));
    }
    if (known === undefined)
      return refuse(response, 404, 'NotFound', `${resource.plural} "${name}" not found`);
    if (request.method === 'GET') return answer(response, 200, known);
    const { uid, resourceVersion } = (body.metadata ?? {}) as Record<string, unknown>;
    if (uid !== undefined && uid !== known.metadata.uid)
      return refuse(response, 422, 'Invalid', 'metadata.uid: Invalid value: field is immutable');
    if (resourceVersion !== undefined && resourceVersion !== known.metadata.resourceVersion)
      return refuse(response, 409, 'Conflict', 'the object has been modified');
    const merged =
      request.method === 'PATCH'
        ? (merge(known, body) as FakeObject)
        : { ...body, metadata: { ...known.metadata, ...body.metadata } };
    const next = subresource === 'status' ? { ...known, status: merged.status } : merged;
    if (request.method === 'DELETE') {
      this.delete(resource.plural, namespace, name);
      return answer(response, 200, { kind: 'Status', status: 'Success' });
    }
    answer(response, 200, this.put(resource.plural, next, resource.apiVersion));
  }
}

function write({ response }: Watch, type: string, object: unknown): void {
  response.write(`${JSON.stringify({ type, object })}\n`);
}

function answer(response: http.ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

export function refuse(response: http.ServerResponse, code: number, reason: string, message: string): void {
  answer(response, code, { kind: 'Status', status: 'Failure', code, reason, message });
}
