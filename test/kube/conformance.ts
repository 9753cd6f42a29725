/**
 * The official conformance suite of Gateway API against the mesh in a cluster: its 23 tests of meshes, with all nine extended
 * features, through a waypoint that both of its namespaces use.
 *
 * Without a mesh some of them pass by chance, since a Service with two backends is asked until three answers in a row fit;
 * so here more of them have to be right. `make conformance` asks for twelve, several times, and runs the control without a mesh.
 */
import t from 'tap';
import { Conformance } from './conformance-mesh.ts';
import { meshTests } from './gateway-suite.ts';

const conformance = await Conformance.up();
t.teardown(() => conformance.mesh.cluster.dispose());

await t.test('every test of meshes passes', async t => {
  const { passed, failed, output } = await conformance.run({ consecutive: 6 });
  for (const name of failed) t.fail(name, { found: linesAbout(output, name) });
  t.strictSame(passed, meshTests);
});

await t.test('routes that are there say that they are in force', async t => {
  const { output } = await conformance.run({ only: 'MeshHTTPRouteMatching', keepRoutes: true });
  const { kubectl } = conformance.mesh.cluster;
  const { items } = await kubectl.get<{ items: Route[] }>('httproutes', '--all-namespaces');
  t.ok(items.length > 0, output);
  for (const { metadata, status } of items) {
    const ours = status.parents.filter(({ controllerName }) => controllerName === 'culvert.dev/waypoint');
    t.strictSame(
      ours.flatMap(({ conditions }) => conditions.map(({ type, status: is }) => `${type}=${is}`)),
      ['Accepted=True', 'ResolvedRefs=True'],
      metadata.name,
    );
  }
});

interface Route {
  readonly metadata: { readonly name: string };
  readonly status: {
    readonly parents: readonly {
      readonly controllerName: string;
      readonly conditions: readonly { readonly type: string; readonly status: string }[];
    }[];
  };
}

/** The last of what the suite said while a test ran. */
function linesAbout(output: string, name: string): string[] {
  const lines = output.split('\n');
  const from = lines.findIndex(line => line.includes(`=== RUN   TestConformance/${name}`));
  const to = lines.findIndex((line, at) => at > from && /=== RUN   TestConformance\/\w+$/.test(line));
  return lines
    .slice(from, to === -1 ? undefined : to)
    .filter(line => /expect|fail|wanted/i.test(line))
    .slice(-8);
}
