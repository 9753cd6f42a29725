/**
 * The official conformance suite of Gateway API against the mesh in a cluster: its 23 tests of meshes, with all nine extended
 * features, through a waypoint that both of its namespaces use.
 *
 * Without a mesh some of them pass by chance, since a Service with two backends is asked until three answers in a row fit;
 * so here more of them have to be right. `make conformance` asks for twelve, several times, and runs the control without a mesh.
 */
import t from 'tap';
import { eventually } from '../lab/eventually.ts';
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
  const { kubectl } = conformance.mesh.cluster;
  t.teardown(() => kubectl.delete('httproutes', '--all', '--namespace=gateway-conformance-mesh'));
  await conformance.run({ only: 'MeshHTTPRouteMatching', keepRoutes: true });
  const said = await eventually(
    async () => {
      const { items } = await kubectl.get<{ items: Route[] }>('httproutes', '--all-namespaces');
      return items.flatMap(({ status }) => status?.parents ?? []).at(0);
    },
    { what: 'a status of the route' },
  );
  t.match(said, {
    controllerName: 'culvert.dev/waypoint',
    conditions: [
      { type: 'Accepted', status: 'True' },
      { type: 'ResolvedRefs', status: 'True' },
    ],
  });
});

interface Route {
  readonly status?: { readonly parents?: readonly unknown[] };
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
