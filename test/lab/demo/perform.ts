/**
 * The play: the stage is built, one act follows the other, and whatever happens everything is taken down at the end.
 */
import { Lab } from '../lab.ts';
import { loadRecord } from '../record.ts';
import { withoutAgent } from './agent-gone.ts';
import { nodeNames, pods } from './cast.ts';
import { beforeTheMesh, joinTheMesh } from './enrolment.ts';
import type { Interruption } from './interruption.ts';
import { introduce } from './introduce.ts';
import { howToLookAround } from './keep.ts';
import { reportLeftovers } from './leftovers.ts';
import { metrics } from './metrics.ts';
import { cutAnOpenOne, refuseTheNext } from './policy.ts';
import { counted, type Report } from './report.ts';
import { speed } from './speed.ts';
import { Stage } from './stage.ts';
import { strangers } from './strangers.ts';
import { otherPrograms } from './traffic.ts';
import { waypoint } from './waypoint.ts';
import { whoTalkedToWhom } from './who-talked.ts';
import { listen, reportProtected } from './wire.ts';

export interface PerformanceOptions {
  /** Of the lab. */
  readonly name: string;
  readonly keep: boolean;
  /** Length of each measurement. */
  readonly seconds: number;
}

/** Returns whether all was as it should be and, unless it is kept, nothing is left behind. */
export async function perform(
  options: PerformanceOptions,
  report: Report,
  interruption: Interruption,
): Promise<boolean> {
  const started = performance.now();
  const { name, seconds, keep } = options;
  report.line(
    'Culvert on this machine: two nodes and their pods out of network namespaces, real agents, real programs',
  );
  if (loadRecord(name) !== null)
    report.line('(first an earlier demo is taken down, which was kept or killed)');
  const lab = await Lab.create({ name, nodes: nodeNames, pods, signals: false });
  const stage = new Stage(lab, seconds, interruption.signal);
  const nothingIsLeft = async (): Promise<boolean> => {
    await lab.dispose();
    return reportLeftovers({ name, directory: lab.directory, maps: [...stage.maps] }, report);
  };
  try {
    await interruption.during(() => play(stage, report));
  } catch (error) {
    await nothingIsLeft();
    throw error;
  }
  const { surprises } = report;
  const verdict =
    surprises === 0 ? 'all was as it should be' : `${counted(surprises, 'THING')} UNEXPECTED, see above`;
  report.line();
  report.line(`It took ${Math.round((performance.now() - started) / 1000)} s; ${verdict}.`);
  if (keep) {
    howToLookAround(stage, report);
    lab.keep();
    return surprises === 0;
  }
  return (await nothingIsLeft()) && surprises === 0;
}

async function play(stage: Stage, report: Report): Promise<void> {
  await stage.setUp();
  await introduce(stage, report);
  await beforeTheMesh(stage, report);
  await using wire = await listen(stage);
  await joinTheMesh(stage, report);
  await otherPrograms(stage, report);
  await refuseTheNext(stage, report);
  await cutAnOpenOne(stage, report);
  whoTalkedToWhom(stage, report);
  reportProtected(report, await wire.stop(), Object.values(stage.secrets));
  await strangers(stage, report);
  await withoutAgent(stage, report);
  await speed(stage, report);
  await metrics(stage, report);
  await waypoint(stage, report);
}
