/**
 * For processes whose memory is mostly objects that live long: an old generation that V8 lets grow to twice its size and
 * more before it collects would be half garbage. Costs more collections, most of them on other threads.
 */
import { setFlagsFromString } from 'node:v8';

/** The heap is collected when it has grown by this much since it was collected last. */
const growthPercent = 20;
/** Small buffers are cut out of blocks of this size (64 kB in Node), each of which lives as long as the last of its pieces. */
const poolBytes = 2 << 10;

/** To be called before there is much. */
export function keepHeapTight(): void {
  setFlagsFromString(`--heap-growing-percent=${growthPercent}`);
  Buffer.poolSize = poolBytes;
}
