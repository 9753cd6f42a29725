/**
 * Expressions in the Common Expression Language (https://github.com/google/cel-spec) over the attributes of a request, as
 * Telemetry has them: `response.code >= 400`, `request.headers['x-tenant']`. Pure.
 */
import { Environment } from '@marcbachmann/cel-js';

/** Names and meaning are those of Envoy's attributes; whole numbers are CEL's int. */
export interface Attributes {
  readonly request: {
    readonly method: string;
    readonly host: string;
    /** With its query. */
    readonly path: string;
    readonly url_path: string;
    readonly query: string;
    readonly scheme: string;
    readonly protocol: string;
    readonly id: string;
    readonly useragent: string;
    readonly size: bigint;
    readonly headers: Readonly<Record<string, string>>;
  };
  readonly response: {
    readonly code: bigint;
    readonly grpc_status: bigint;
    readonly size: bigint;
    readonly flags: string;
  };
  readonly source: {
    readonly address: string;
    readonly principal: string;
    readonly namespace: string;
    readonly workload: string;
  };
  readonly destination: {
    readonly service: string;
    readonly port: bigint;
    readonly namespace: string;
    readonly workload: string;
  };
  /** Milliseconds. */
  readonly duration: bigint;
  readonly route: string;
}

export type Outcome = { readonly value: unknown } | { readonly error: string };

export interface Expression {
  /** Never throws. */
  evaluate(attributes: Attributes): Outcome;
}

const environment = new Environment({ unlistedVariablesAreDyn: false });
for (const name of ['request', 'response', 'source', 'destination'])
  environment.registerVariable(name, 'map');
environment.registerVariable('duration', 'int').registerVariable('route', 'string');

/** The expression, or why it is none. */
export function parseExpression(text: string): Expression | string {
  try {
    const run = environment.parse(text);
    const checked = run.check();
    if (!checked.valid) return firstLine(checked.error);
    return {
      evaluate: attributes => {
        try {
          return { value: run(attributes) };
        } catch (error) {
          return { error: firstLine(error) };
        }
      },
    };
  } catch (error) {
    return firstLine(error);
  }
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split('\n', 1)[0] ?? '';
}
