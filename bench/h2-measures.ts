/**
 * What the HTTP/2 micro benchmark measures, on anything that opens tunnels (h2-peer.ts has two such things).
 */

export interface Tunnel {
  write(chunk: Buffer): boolean;
  end(): void;
}

export interface TunnelEvents {
  onOpen(): void;
  onData(chunk: Buffer): void;
  onDrain(): void;
  onEnd(): void;
}

export type Connect = (authority: string, events: TunnelEvents) => Tunnel;

const ignore = (): void => {};

/** Median round trip of 64 bytes on one stream, microseconds. */
function roundTrip(connect: Connect, seconds: number): Promise<number> {
  const message = Buffer.alloc(64, 'x');
  const samples: number[] = [];
  return new Promise(resolve => {
    let sentAt = 0;
    const until = performance.now() + seconds * 1000;
    const next = (): void => {
      sentAt = performance.now();
      tunnel.write(message);
    };
    const tunnel = connect('echo:1', {
      onOpen: next,
      onDrain: ignore,
      onEnd: ignore,
      onData: () => {
        const now = performance.now();
        samples.push((now - sentAt) * 1000);
        if (now < until) next();
        else {
          tunnel.end();
          resolve(samples.sort((a, b) => a - b)[samples.length >> 1] ?? Number.NaN);
        }
      },
    });
  });
}

/** One stream towards a server that counts, Gbit/s. */
function throughput(connect: Connect, seconds: number): Promise<number> {
  const chunk = Buffer.alloc(65_536, 'x');
  return new Promise(resolve => {
    let startedAt = 0;
    const pump = (): void => {
      while (performance.now() - startedAt < seconds * 1000) {
        if (!tunnel.write(chunk)) return;
      }
      tunnel.end();
    };
    let answer = '';
    const tunnel = connect('sink:1', {
      onOpen: () => {
        startedAt = performance.now();
        pump();
      },
      onDrain: pump,
      onData: data => (answer += data.toString()),
      onEnd: () => resolve((Number(answer) * 8) / (performance.now() - startedAt) / 1e6),
    });
  });
}

/** Streams opened, answered with one byte echoed, and ended, by 32 at a time, per second. */
function connects(connect: Connect, seconds: number): Promise<number> {
  const byte = Buffer.from('x');
  return new Promise(resolve => {
    let done = 0;
    let open = 0;
    const startedAt = performance.now();
    const one = (): void => {
      open += 1;
      const tunnel = connect('echo:1', {
        onOpen: () => tunnel.write(byte),
        onDrain: ignore,
        onData: () => tunnel.end(),
        onEnd: () => {
          done += 1;
          open -= 1;
          const elapsed = performance.now() - startedAt;
          if (elapsed < seconds * 1000) one();
          else if (open === 0) resolve((done / elapsed) * 1000);
        },
      });
    };
    for (let i = 0; i < 32; i += 1) one();
  });
}

/** Round trips of 100 bytes on 64 open streams at once, per second. */
function requests(connect: Connect, seconds: number): Promise<number> {
  const message = Buffer.alloc(100, 'x');
  return new Promise(resolve => {
    let done = 0;
    let over = false;
    const startedAt = performance.now();
    const one = (): void => {
      const tunnel = connect('echo:1', {
        onOpen: () => tunnel.write(message),
        onDrain: ignore,
        onEnd: ignore,
        onData: () => {
          done += 1;
          const elapsed = performance.now() - startedAt;
          if (elapsed < seconds * 1000) tunnel.write(message);
          else if (!over) {
            over = true;
            resolve((done / elapsed) * 1000);
          }
        },
      });
    };
    for (let i = 0; i < 64; i += 1) one();
  });
}

/** Opens 10 000 streams, echoes one byte on each and keeps them, so that the parent can ask both ends for their memory. */
async function memory(connect: Connect): Promise<number> {
  const byte = Buffer.from('x');
  for (let i = 0; i < 100; i += 1) {
    await Promise.all(
      Array.from({ length: 100 }, () => {
        const { promise, resolve } = Promise.withResolvers<void>();
        const tunnel: Tunnel = connect('echo:1', {
          onOpen: () => tunnel.write(byte),
          onDrain: ignore,
          onEnd: ignore,
          onData: () => resolve(),
        });
        return promise;
      }),
    );
  }
  return 10_000;
}

export const measures = { roundTrip, throughput, connects, requests, memory };
export type Measure = keyof typeof measures;
