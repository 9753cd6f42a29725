/** The commands that ask what the mesh would do, of a directory or a cluster; they change nothing. */
import type { Command } from 'commander';
import { addClusterOptions, output } from './options.ts';

export function addMeshCommands(program: Command): void {
  question(
    program,
    'explain',
    'whether a request may pass a waypoint, which rule of which route it would hit, why, and what becomes of it',
  )
    .argument(
      '<url>',
      'http://<service>.<namespace>:<port>/<path>; tls://… or tcp://… of a connection that is carried as it is',
    )
    .option('-X, --request <method>', 'method', 'GET')
    .option('-H, --header <line...>', 'a header, "name: value"')
    .option('--from <namespace>', "of the client (default: the service's own)")
    .option('--account <name>', 'service account of the client', 'default')
    .option('--address <ip>', 'of the client', '127.0.0.1')
    .option('--claims <json>', 'of its token, as if it had been verified')
    .option('--sni <name>', 'that TLS asks for')
    .action(async (url, options) =>
      /^(tcp|tls):/.test(url)
        ? (await import('./explain-connection.ts')).explainConnection(url, options)
        : (await import('./explain-command.ts')).explain(url, options),
    );

  question(program, 'routes', 'the rules of services, in the order in which requests are held against them')
    .argument('[service]', '<name>.<namespace> (default: all that have rules)')
    .option('--from <namespace>', "of the client (default: the service's own)")
    .action(async (service, options) => (await import('./routes-command.ts')).routes(service, options));
}

function question(program: Command, name: string, description: string): Command {
  const command = program
    .command(name)
    .description(description)
    .addOption(output())
    .option('--config <dir>', 'directory of Kubernetes YAML (default: the objects of a cluster)');
  return addClusterOptions(command);
}
