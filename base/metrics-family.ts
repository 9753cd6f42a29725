/**
 * A metric family whose samples are made at each scrape, inside a prom-client registry.
 *
 * prom-client's own metrics hash and check every label of every sample; with ten thousand label sets of thirty labels
 * that would stop the main thread for a second. Labels handed over as `sharedLabels` are turned into text once.
 */
import { Gauge, type Registry } from 'prom-client';
import type { Labels } from './series.ts';

export interface Sample {
  /** The same object at each scrape, where it can be: its text is remembered. */
  readonly labels: Labels;
  readonly value: number;
  /** Name of the sample where it isn't the family's, as `_bucket`. */
  readonly name?: string;
  /** A label of this sample beside `labels`. */
  readonly extra?: Labels;
}

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly samples: () => readonly Sample[];
}

/** Adds the family to the registry. Throws when its name is taken. */
export function register(registry: Registry, family: Family): void {
  // The registry gets the metric through its public `get`; the type declarations know neither the strings that `type`
  // has at run time nor `sharedLabels`.
  registry.registerMetric(new Scraped(family));
}

class Scraped extends Gauge {
  readonly #family: Family;

  constructor(family: Family) {
    super({ name: family.name, help: family.help, registers: [] });
    this.#family = family;
  }

  override get(): ReturnType<Gauge['get']> {
    const { name, help, type, samples } = this.#family;
    const values = samples().map(sample => ({
      value: sample.value,
      labels: sample.extra ?? {},
      sharedLabels: sample.labels,
      metricName: sample.name ?? name,
    }));
    return Promise.resolve({ name, help, type, values, aggregator: 'sum' } as unknown as Awaited<
      ReturnType<Gauge['get']>
    >);
  }
}
