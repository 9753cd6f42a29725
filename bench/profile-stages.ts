/**
 * Samples of a waypoint's processor time, divided by the stages that a request passes. Pure.
 *
 * A sample is a stack, and belongs to the innermost frame of it that is a stage's: what is nobody's in particular (Node's streams
 * and events, the kernel) is so the part of whoever called it. Functions that the compiler has put into their callers count as
 * these.
 */

/** Samples: in the process's own code, and in the kernel on its behalf. */
export interface Samples {
  user: number;
  kernel: number;
}

interface StageFrames {
  readonly stage: string;
  /** A symbol, which for JavaScript has its file in it. */
  readonly frame: RegExp;
}

const rest = "turns of Node's event loop, timers, ticks";

/** In the order of a request. Of two that fit a frame the first counts. */
const frames: readonly StageFrames[] = [
  {
    stage: 'tunnels: TLS, and sockets',
    frame:
      /TLSWrap|\bSSL_|\b(ssl3|tls13|ossl|EVP|aesni|CRYPTO)_|\/tunnel\/h2\/(output|transport)|node:(_tls|internal\/tls)/,
  },
  { stage: 'tunnels: frames of HTTP/2', frame: /\/tunnel\/h2\// },
  { stage: 'tunnels: streams as sockets', frame: /\/waypoint\/stream-socket\.ts/ },
  {
    stage: 'HTTP of the client: read and answered',
    frame:
      /\/waypoint\/(http1-in|http1-head|http1-request|incoming|target|body)\.ts|node:(_http|internal\/http)|node::.*Parser|llhttp/,
  },
  {
    stage: 'who asks: identity, trace, policies',
    frame:
      /\/waypoint\/(authorise|forwarded|tokens|customs|telemetry)\.ts|\/model\/(http-polic|identity|trace)/,
  },
  {
    stage: 'match and filters',
    frame:
      /\/waypoint\/(match|filters|backends|barred|rate-limits|session|cookies)\.ts|\/model\/(http-|bound-routes|rate)/,
  },
  {
    stage: 'endpoint: balancing, limits, outliers',
    frame:
      /\/waypoint\/(balance|choose|upstreams?|member|hash-key|load)\.ts|\/model\/(balanc|traffic|outlier|hash|nearness|mesh)|endpoint-health/,
  },
  {
    stage: 'the course of a request: tries, time limits',
    frame: /\/waypoint\/(exchange|tries|outcome|outgoing-version|local-answer|idle)\.ts|\/model\//,
  },
  {
    stage: 'HTTP of the endpoint: sent and read',
    frame: /\/undici\/|wasm-function|\/waypoint\/(http1-out|pools|negotiation|tunnel-out)\.ts/,
  },
  {
    stage: 'metrics and access log',
    frame: /\/waypoint\/(report|access-log|metrics|request-series|attributes|span)|\/base\//,
  },
  {
    stage: 'garbage collection',
    frame:
      /v8::internal::(\(anonymous namespace\)::)?(Heap|Scaveng|Mark|Minor|Concurrent|Sweep|Incremental|Evacuat|GC|Young|Page|ArrayBufferSweeper)/,
  },
  {
    stage: 'compiling',
    frame:
      /v8::internal::(\(anonymous namespace\)::)?(Compiler|compiler::|maglev::|baseline::|interpreter::|turboshaft|Optimi|Pipeline|Pars|Tiering|Lazy)/,
  },
  { stage: 'waiting for sockets, and reading them', frame: /uv__io_poll|uv__stream_io|uv__read/ },
];

/** Names of all stages, in order. */
export const stages: readonly string[] = [...frames.map(({ stage }) => stage), rest];

/** @param script what `perf script -F ip,sym,dso` prints: for each sample its frames, one a line, the innermost first */
export function samplesByStage(script: string): Map<string, Samples> {
  const all = new Map<string, Samples>(stages.map(stage => [stage, { user: 0, kernel: 0 }]));
  for (const stack of script.split(/\n\s*\n/)) {
    const lines = stack.split('\n').filter(line => line.trim() !== '');
    const [innermost] = lines;
    const samples = all.get(stageOf(lines));
    if (innermost === undefined || samples === undefined) continue;
    if (innermost.includes('[kernel.kallsyms]')) samples.kernel += 1;
    else samples.user += 1;
  }
  return all;
}

function stageOf(stack: readonly string[]): string {
  for (const line of stack) for (const { stage, frame } of frames) if (frame.test(line)) return stage;
  return rest;
}
