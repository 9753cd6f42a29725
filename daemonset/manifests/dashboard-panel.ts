/** One panel of a dashboard: what is asked of Prometheus, and what Grafana makes of it. */

export interface Panel {
  readonly title: string;
  /** Sentence for whoever wonders what it shows. */
  readonly description: string;
  readonly unit: 'short' | 'Bps' | 's' | 'ops' | 'bytes' | 'percentunit';
  readonly queries: readonly { readonly expr: string; readonly legend: string }[];
}

export const dataSource = { type: 'prometheus', uid: '${datasource}' };

/** Two beside each other, in the order given. */
export function timeSeries({ title, description, unit, queries }: Panel, at: number): object {
  const [width, height] = [12, 8];
  return {
    id: at + 1,
    type: 'timeseries',
    title,
    description,
    datasource: dataSource,
    gridPos: { x: (at % 2) * width, y: Math.floor(at / 2) * height, w: width, h: height },
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    targets: queries.map(({ expr, legend }, index) => ({
      refId: 'ABC'.charAt(index),
      datasource: dataSource,
      expr,
      legendFormat: legend,
    })),
  };
}
