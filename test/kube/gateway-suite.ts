/**
 * The official conformance suite of Gateway API, built from its Go module, and its tests of meshes run against a cluster.
 *
 * Two things are not as its authors run it. The pods have an image of our own (programs/echo.go), as no registry is asked
 * for anything; and three packages that the suite imports for its tests of gateways, from a module that is not published,
 * are taken from the version before, which still had them.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cached } from '../lab/cluster/cache.ts';
import { buildEchoImage } from '../lab/cluster/images.ts';
import type { Kubectl } from '../lab/cluster/kubectl.ts';
import { run } from '../lab/run.ts';

const gatewayApiVersion = 'v1.7.0';
/** The suite asks for this version of Go; an older one fetches it. */
const toolchain = 'go1.27.0';
/** The last one that had the packages which are in a module of their own now. */
const versionWithServers = 'v1.6.3';
const gatewayApi = 'sigs.k8s.io/gateway-api';
const servers = 'sigs.k8s.io/gateway-api-conformance-images';
/** The image of its pods, as its manifests name it. */
const echoTag = 'registry.k8s.io/gateway-api/conformance/echo-advanced:v0.1.0';
const buildMs = 20 * 60_000;

/** Everything that the suite has tests of meshes for, of all nine extended features too. */
const meshFeatures: readonly string[] = [
  'Mesh',
  'HTTPRoute',
  'GRPCRoute',
  'MeshClusterIPMatching',
  'MeshConsumerRoute',
  'MeshHTTPRouteRewritePath',
  'MeshHTTPRouteSchemeRedirect',
  'MeshHTTPRouteRedirectPort',
  'MeshHTTPRouteRedirectPath',
  'MeshHTTPRouteBackendRequestHeaderModification',
  'MeshHTTPRouteQueryParamMatching',
  'MeshHTTPRouteNamedRouteRule',
  'HTTPRouteParentRefPort',
  'HTTPRouteResponseHeaderModification',
  'HTTPRoute303RedirectStatusCode',
  'HTTPRoute307RedirectStatusCode',
  'HTTPRoute308RedirectStatusCode',
];

/** Its tests of meshes with these features. */
export const meshTests: readonly string[] = [
  'MeshBasic',
  'MeshConsumerRoute',
  'MeshFrontend',
  'MeshFrontendHostname',
  'MeshGRPCRouteRequestHeaderModifier',
  'MeshGRPCRouteWeight',
  'MeshHTTPRoute303Redirect',
  'MeshHTTPRoute307Redirect',
  'MeshHTTPRoute308Redirect',
  'MeshHTTPRouteBackendRequestHeaderModifier',
  'MeshHTTPRouteMatching',
  'MeshHTTPRouteNamedRule',
  'MeshHTTPRouteQueryParamMatching',
  'MeshHTTPRouteRedirectHostAndStatus',
  'MeshHTTPRouteRedirectPath',
  'MeshHTTPRouteRedirectPort',
  'MeshHTTPRouteRequestHeaderModifier',
  'MeshHTTPRouteRewritePath',
  'MeshHTTPRouteSchemeRedirect',
  'MeshHTTPRouteSimpleSameNamespace',
  'MeshHTTPRouteWeight',
  'MeshPorts',
  'MeshTrafficSplit',
];

export interface SuiteOptions {
  /** Labels that its namespaces get before their pods are made. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly features?: readonly string[];
  /** The only test to run. */
  readonly only?: string;
  /** So many answers in a row must be right: three may be by chance. */
  readonly consecutive?: number;
  /** How long a test waits for the first right answer, seconds. */
  readonly patienceSeconds?: number;
  /** Leaves the routes of the last test where they are. */
  readonly keepRoutes?: boolean;
  /** Where the report goes; none unless said. */
  readonly report?: string;
  /** What the report calls this version. */
  readonly version?: string;
}

export interface SuiteResult {
  readonly passed: readonly string[];
  readonly failed: readonly string[];
  /** All that it printed. */
  readonly output: string;
}

/** Folder with the definitions of the kinds of Gateway API. */
async function gatewayDefinitions(): Promise<string> {
  const { Dir } = await downloaded(`${gatewayApi}@${gatewayApiVersion}`);
  return join(Dir, 'config/crd/standard');
}

/** Brings the kinds of Gateway API into a cluster. */
export async function installGatewayApi(kubectl: Kubectl): Promise<void> {
  const folder = await gatewayDefinitions();
  await kubectl.run(['apply', '--server-side', `--filename=${folder}`]);
  const plurals = ['gatewayclasses', 'gateways', 'httproutes', 'grpcroutes'];
  await kubectl.waitFor(
    'condition=Established',
    plurals.map(plural => `crd/${plural}.gateway.networking.k8s.io`),
  );
}

/** Runs the tests of meshes and says which passed. Images must be in the cluster (`buildEchoImage`). */
export async function runSuite(kubectl: Kubectl, options: SuiteOptions = {}): Promise<SuiteResult> {
  const { labels = {}, features = meshFeatures, only, consecutive = 3, patienceSeconds = 10 } = options;
  const { keepRoutes = false, report, version = 'development' } = options;
  const timeouts = {
    MaxTimeToConsistency: patienceSeconds,
    RequestTimeout: 5,
    RequiredConsecutiveSuccesses: consecutive,
  };
  const args = [
    '-test.v',
    '-test.run=TestConformance',
    '--conformance-profiles=MESH-HTTP,MESH-GRPC',
    `--supported-features=${features.join(',')}`,
    `--namespace-labels=${pairs(labels, '=', ',')}`,
    `--timeout-config-overrides=${pairs(timeouts, ':', ';')}`,
    // Their namespaces take long to go; whoever runs it again finds them ready.
    '--cleanup-base-resources=false',
    `--cleanup-test-resources=${!keepRoutes}`,
    ...(only === undefined ? [] : [`--run-test=${only}`]),
    ...(report === undefined
      ? []
      : [
          `--report-output=${report}`,
          '--organization=culvert',
          '--project=culvert',
          '--url=https://culvert.dev',
          `--version=${version}`,
          '--contact=https://culvert.dev',
        ]),
  ];
  const { stdout, stderr } = await run(await buildSuite(), args, {
    check: false,
    env: { KUBECONFIG: kubectl.kubeconfig },
    timeoutMs: buildMs,
  });
  const output = `${stdout}\n${stderr}`;
  return { passed: named(output, 'PASS'), failed: named(output, 'FAIL'), output };
}

/** Tests directly below the suite's only one: `    --- PASS: TestConformance/MeshBasic (0.12s)`. */
function named(output: string, verdict: string): string[] {
  const lines = output.matchAll(new RegExp(`^\\s*--- ${verdict}: TestConformance/(\\w+) `, 'gm'));
  return [...new Set(Array.from(lines, ([, name = '']) => name))].sort();
}

function pairs(all: Readonly<Record<string, string | number>>, is: string, and: string): string {
  return Object.entries(all)
    .map(([name, value]) => `${name}${is}${value}`)
    .join(and);
}

/** Path of the program. The first time takes a minute or two. */
function buildSuite(): Promise<string> {
  return cached(`gateway-suite-${gatewayApiVersion}`, [toolchain, versionWithServers], async path => {
    const folder = mkdtempSync(join(tmpdir(), 'culvert-gateway-suite-'));
    try {
      await layOut(folder);
      const suite = join(folder, 'suite');
      await go(['mod', 'tidy'], suite);
      await go(['test', '-c', '-ldflags=-s -w', '-o', path, '.'], suite);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}

/** Two modules: one that has nothing but the suite's entry, and the packages that it would not find. */
async function layOut(folder: string): Promise<void> {
  const { Dir } = await downloaded(`${gatewayApi}/conformance@${versionWithServers}`);
  const packages = join(folder, 'servers/echo-basic');
  for (const name of ['grpcechoserver', 'tcpserver', 'udpechoserver'])
    cpSync(join(Dir, 'echo-basic', name), join(packages, name), { recursive: true });
  await run('chmod', ['-R', 'u+w', packages]);
  for (const file of readdirSync(packages, { recursive: true, encoding: 'utf8' }))
    if (file.endsWith('_test.go')) rmSync(join(packages, file));
  writeFileSync(join(folder, 'servers/go.mod'), `module ${servers}\n\ngo 1.26.0\n`);
  mkdirSync(join(folder, 'suite'));
  writeFileSync(
    join(folder, 'suite/go.mod'),
    [
      'module culvert.dev/lab/gateway-suite',
      `go ${toolchain.replace('go', '')}`,
      `require ${gatewayApi} ${gatewayApiVersion}`,
      `require ${gatewayApi}/conformance ${gatewayApiVersion}`,
      `require ${servers} v0.0.0`,
      `replace ${servers} => ../servers`,
      '',
    ].join('\n'),
  );
  writeFileSync(
    join(folder, 'suite/suite_test.go'),
    [
      'package suite',
      'import (',
      '\t"testing"',
      `\t"${gatewayApi}/conformance"`,
      ')',
      'func TestConformance(t *testing.T) { conformance.RunConformance(t) }',
      '',
    ].join('\n'),
  );
}

async function downloaded(module: string): Promise<{ readonly Dir: string }> {
  return JSON.parse(await go(['mod', 'download', '-json', module], tmpdir())) as { Dir: string };
}

async function go(args: readonly string[], cwd: string): Promise<string> {
  const env = { CGO_ENABLED: '0', GOFLAGS: '-mod=mod', GOWORK: 'off', GOTOOLCHAIN: toolchain };
  return (await run('go', args, { cwd, env, timeoutMs: buildMs })).stdout;
}

/** What the suite's pods run, as an archive for `Cluster.load`. */
export function suiteImage(): Promise<string> {
  return buildEchoImage(echoTag);
}
