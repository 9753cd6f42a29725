/**
 * Metrics of what a control plane knows and writes, asked for at each scrape; what the serving side counts is
 * control-metrics.ts. docs/metrics.md lists every metric.
 */
import { readFileSync } from 'node:fs';
import { Counter, Gauge } from 'prom-client';
import { versionString } from '../base/version.ts';
import type { Control } from './control.ts';

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** Registers them in the registry of `control`. */
export function registerState(control: Control): void {
  const registers = [control.registry];
  const family = (
    Type: typeof Gauge | typeof Counter,
    name: string,
    help: string,
    labelNames: string[],
    read: () => readonly Sample[],
  ): void => {
    const metric: Gauge | Counter = new Type({
      name,
      help,
      labelNames,
      registers,
      collect() {
        metric.reset();
        for (const [labels, value] of read()) metric.inc(labels, value);
      },
    });
  };
  const gauge = (name: string, help: string, labels: string[], read: () => readonly Sample[]): void =>
    family(Gauge, name, help, labels, read);
  const counter = (name: string, help: string, labels: string[], read: () => readonly Sample[]): void =>
    family(Counter, name, help, labels, read);
  const own = 'culvert_control_';
  const one = (value: number): readonly Sample[] => [[{}, value]];
  const perKind = (
    read: (kind: ReturnType<typeof control.watch.state>[number]) => number,
  ): readonly Sample[] => control.watch.state().map(kind => [{ kind: kind.key }, read(kind)]);

  gauge(`${own}info`, 'Always 1; which version this is', ['version'], () => [
    [{ version: versionString() }, 1],
  ]);
  gauge(`${own}leader`, '1 while this replica is the one that writes', [], () =>
    one(Number(control.lease.isLeader)),
  );
  gauge(`${own}problems`, 'What keeps this replica from doing all that it should', [], () =>
    one(control.problems().length),
  );
  gauge(`${own}objects`, 'Objects of the cluster that are in force', ['kind'], () =>
    Object.entries(control.objects.counts()).map(([kind, count]) => [{ kind }, count]),
  );
  counter(`${own}object_changes_total`, 'Changes of what the mesh reads', [], () =>
    one(control.objects.changes),
  );
  gauge(`${own}findings`, 'What is wrong or worth knowing', ['severity'], () =>
    Object.entries(control.findingCounts()).map(([severity, count]) => [{ severity }, count]),
  );
  counter(`${own}builds_total`, 'Changes that were put into force', [], () => one(control.builds.count));
  counter(`${own}build_seconds_total`, 'Time that took', [], () => one(control.builds.seconds));
  counter(`${own}lists_total`, 'Lists asked of the API server', ['kind'], () =>
    perKind(({ lists }) => lists),
  );
  counter(`${own}watches_total`, 'Watches opened on it', ['kind'], () => perKind(({ watches }) => watches));
  counter(`${own}watch_failures_total`, 'Lists and watches that failed', ['kind'], () =>
    perKind(({ failures }) => failures),
  );
  gauge(
    `${own}heard_timestamp_seconds`,
    'When the API server last said anything about a kind',
    ['kind'],
    () => perKind(({ heardAt }) => (heardAt ?? 0) / 1_000),
  );
  gauge(`${own}agents`, 'Agents that report about their pods here', [], () => one(control.clients.agents));
  counter(`${own}redirections_written_total`, 'Annotations of pods written', ['result'], () => {
    const { written, failed } = control.redirection.counts;
    return [
      [{ result: 'written' }, written],
      [{ result: 'failed' }, failed],
    ];
  });
  gauge(`${own}redirections_waiting`, 'Annotations of pods that wait to be written', [], () =>
    one(control.redirection.counts.waiting),
  );
  counter(`${own}statuses_written_total`, 'Conditions of objects written', ['result'], () => {
    const { written, failed } = control.status.counts;
    return [
      [{ result: 'written' }, written],
      [{ result: 'failed' }, failed],
    ];
  });
  gauge('process_resident_memory_bytes', 'Resident memory', [], () => one(process.memoryUsage.rss()));
  gauge('process_start_time_seconds', 'When the process started', [], () => one(control.startedAt / 1_000));
  gauge('nodejs_heap_size_used_bytes', 'Memory of the JavaScript heap', [], () =>
    one(process.memoryUsage().heapUsed),
  );
  gauge('process_max_fds', 'Limit of open file descriptors', [], maxFds);
  counter('process_cpu_seconds_total', 'Processor time, user and system', [], () => {
    const { user, system } = process.cpuUsage();
    return one((user + system) / 1e6);
  });
}

function maxFds(): readonly Sample[] {
  const limit = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return limit === undefined ? [] : [[{}, Number(limit)]];
}
