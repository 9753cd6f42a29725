/** The commands about waypoints: the process itself, and the Gateways in a cluster that ask for one. */
import { type Command, Option } from 'commander';
import {
  addClusterOptions,
  addControlOptions,
  addLimits,
  addLogLevel,
  addSourceOptions,
  output,
} from './options.ts';

export function addWaypointCommands(program: Command): void {
  const waypoint = program
    .command('waypoint')
    .description('the proxy of a namespace or service that wants more than L4');

  addRun(waypoint);

  gateways(waypoint, 'apply', 'a waypoint in a cluster: makes its Gateway, or changes what is there')
    .option('--name <name>', 'of the Gateway', 'waypoint')
    .addOption(
      new Option('--for <traffic>', 'what passes it')
        .choices(['service', 'workload', 'all', 'none'])
        .default('service'),
    )
    .option('-A, --all-namespaces', 'other namespaces may use it too')
    .option('--enroll-namespace', 'its namespace uses it from now on')
    .option('--overwrite', 'also where the namespace uses another one')
    .option('--wait', 'until traffic can pass it')
    .option('--timeout <time>', 'with --wait, such as 90s or 5m', '90s')
    .action(async options => (await import('./cluster-waypoint.ts')).applyWaypoint(options));

  gateways(waypoint, 'list', 'the waypoints of a namespace')
    .option('-A, --all-namespaces', 'of all namespaces')
    .action(async options => (await import('./cluster-waypoint.ts')).listWaypoints(options));

  gateways(waypoint, 'status', 'what the control plane says about them; exit code 1 unless traffic can pass')
    .argument('[name...]', 'which ones (default: all of the namespace)')
    .option('-A, --all-namespaces', 'of all namespaces')
    .option('--wait', 'until traffic can pass')
    .option('--timeout <time>', 'with --wait, such as 90s or 5m', '90s')
    .action(async (names, options) => (await import('./cluster-waypoint.ts')).waypointStatus(names, options));

  gateways(waypoint, 'delete', 'waypoints of a cluster; traffic goes directly from then on')
    .argument('[name...]', 'which ones, unless --all')
    .option('--all', 'all of the namespace')
    .action(async (names, options) =>
      (await import('./cluster-waypoint.ts')).deleteWaypoints(names, options),
    );
}

function addRun(waypoint: Command): void {
  const run = waypoint
    .command('run')
    .description('route, retry and watch the requests to what uses this waypoint, until told to stop');
  addSourceOptions(run)
    .requiredOption('--name <namespace/name>', 'the Gateway that this is a pod of')
    .option(
      '--authority <file>',
      'with --config: certificate authority (default: <config>/.culvert/authority.pem)',
    )
    .option('--address <ip>', 'where tunnels come to', '0.0.0.0')
    .option('--hbone-port <n>', 'tunnels that arrive', '15008')
    .option('--admin-port <n>', 'administration, loopback only', '15000')
    .option('--metrics-address <ip>', 'where Prometheus may scrape', '127.0.0.1')
    .option('--metrics-port <n>', 'Prometheus', '15020')
    .option('--ready-address <ip>', 'where a kubelet may ask whether it is ready', '127.0.0.1')
    .option('--ready-port <n>', 'readiness', '15021')
    .option('--access-log <file>', 'one line per request; - is standard output, empty is none', '-');
  addLimits(addLogLevel(run), 'docs/waypoint.md');
  addControlOptions(run).action(async options =>
    (await import('./waypoint-command.ts')).runWaypoint(options),
  );
}

/** A command about the waypoints of a cluster. */
function gateways(waypoint: Command, name: string, description: string): Command {
  const command = waypoint
    .command(name)
    .description(description)
    .addOption(output())
    .option('-n, --namespace <name>', 'of the waypoint (default: that of the kubeconfig)');
  return addClusterOptions(command);
}
