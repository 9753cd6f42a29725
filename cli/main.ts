/**
 * `culvert`: reads the command line and hands over. Nouns show, verbs change something; what a command needs is loaded
 * when it is called.
 *
 * Exit codes: 0 done, 1 something is wrong with what was looked at, 64 bad usage or configuration, 69 this machine
 * can't, 70 our own fault.
 */
import { Command, CommanderError } from 'commander';
import { describeError } from '../base/errors.ts';
import { addClusterCommands } from './commands-cluster.ts';
import { addMeshCommands } from './commands-mesh.ts';
import { addNodeCommands } from './commands-node.ts';
import { addWaypointCommands } from './commands-waypoint.ts';
import { exitCodeOf } from './exit.ts';
import { addClusterOptions, output } from './options.ts';

const program = new Command('culvert')
  .description('A service mesh without sidecars')
  .addHelpText(
    'after',
    "\nExit codes: 0 done, 1 something is wrong with what was looked at,\n64 usage or configuration, 69 this machine or cluster can't, 70 our own fault.",
  )
  .showHelpAfterError('(culvert --help lists the commands)')
  .exitOverride();

addNodeCommands(program.commandsGroup('A node:'));
addClusterCommands(program.commandsGroup('A cluster:'));
addMeshCommands(program.commandsGroup('Requests and waypoints:'));
addWaypointCommands(program);

const version = program
  .commandsGroup('This program:')
  .helpCommand(true)
  .command('version')
  .description('version of this program, and of what runs in a cluster where one can be reached')
  .addOption(output())
  .option('--client', 'of this program only')
  .option('--namespace <name>', 'where it is installed', 'culvert-system');
addClusterOptions(version).action(async options => (await import('./version.ts')).version(options));

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 64;
  else {
    process.stderr.write(`culvert: ${describeError(error)}\n`);
    process.exitCode = exitCodeOf(error);
  }
}
