/**
 * The process metrics that every Prometheus client has. prom-client's own set would wake an idle agent a hundred times
 * a second to measure the main event loop.
 */
import { readFileSync, readdirSync } from 'node:fs';
import type { Family } from '../base/metrics-family.ts';

export function processFamilies(): Family[] {
  const startedAt = Date.now() / 1000 - process.uptime();
  const gauge = (
    name: string,
    help: string,
    read: () => number | null,
    type: Family['type'] = 'gauge',
  ): Family => ({
    name,
    help,
    type,
    samples: () => {
      const value = read();
      return value === null ? [] : [{ labels: {}, value }];
    },
  });
  const heap = 'Memory of the JavaScript heap of the main thread';
  return [
    gauge('process_resident_memory_bytes', 'Resident memory', () => process.memoryUsage.rss()),
    gauge('process_cpu_seconds_total', 'Processor time, user and system', cpuSeconds, 'counter'),
    gauge('process_start_time_seconds', 'When the process started', () => startedAt),
    gauge('process_open_fds', 'Open file descriptors', openFds),
    gauge('process_max_fds', 'Limit of open file descriptors', maxFds),
    gauge('nodejs_heap_size_used_bytes', heap, () => process.memoryUsage().heapUsed),
  ];
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Null where /proc can't be read; the scrape goes on without it. */
function openFds(): number | null {
  try {
    // One of them was the directory itself.
    return readdirSync('/proc/self/fd').length - 1;
  } catch {
    return null;
  }
}

function maxFds(): number | null {
  try {
    const limit = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return limit === undefined ? null : Number(limit);
  } catch {
    return null;
  }
}
