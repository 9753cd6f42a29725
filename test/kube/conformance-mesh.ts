/**
 * A cluster with the mesh in it, ready for the conformance suite: the kinds of Gateway API, and a waypoint in a namespace of
 * its own that the namespaces of the suite use by the labels they get.
 */
import type { ClusterOptions } from '../lab/cluster/cluster.ts';
import {
  type SuiteOptions,
  type SuiteResult,
  installGatewayApi,
  runSuite,
  suiteImage,
} from './gateway-suite.ts';
import { Mesh, dataplaneMode } from './mesh.ts';

const home = 'waypoints';
const name = 'waypoint';

/** What puts a namespace into the mesh and its Services behind the waypoint. */
const labels = {
  [dataplaneMode]: 'ambient',
  'culvert.dev/use-waypoint': name,
  'culvert.dev/use-waypoint-namespace': home,
};

export class Conformance {
  readonly mesh: Mesh;

  private constructor(mesh: Mesh) {
    this.mesh = mesh;
  }

  static async up(options: ClusterOptions = {}): Promise<Conformance> {
    const mesh = await Mesh.up('kustomize', options);
    try {
      const { cluster } = mesh;
      await cluster.load([await suiteImage()]);
      await installGatewayApi(cluster.kubectl);
      await cluster.kubectl.run(['create', 'namespace', home], { check: false });
      const where = [`--namespace=${home}`, `--name=${name}`, '--all-namespaces'];
      await mesh.culvert('waypoint', 'apply', ...where, '--wait');
      return new Conformance(mesh);
    } catch (error) {
      await mesh.cluster.dispose();
      throw error;
    }
  }

  /** Runs the suite, or one test of it, through the waypoint. */
  run(options: SuiteOptions = {}): Promise<SuiteResult> {
    return runSuite(this.mesh.cluster.kubectl, { ...options, labels });
  }
}
