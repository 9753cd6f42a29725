/**
 * Who talked to whom since enrolment: the access logs of both agents, added up.
 */
import { nodeNames } from './cast.ts';
import { grouped, type Report } from './report.ts';
import type { AccessLine, Stage } from './stage.ts';

/** What the wire between the nodes saw of it, by `security` of the access log. */
const ways: Readonly<Record<string, string>> = {
  mutual_tls: 'tunnel',
  local: 'same node',
  plaintext: 'PLAIN',
};

interface Conversation {
  readonly between: readonly [from: string, to: string, service: string, way: string, policy: string];
  connections: number;
  up: number;
  down: number;
}

export function whoTalkedToWhom(stage: Stage, report: Report): void {
  report.section(
    'Who talked to whom, by the access logs; each identity is spiffe://cluster.local/ns/shop/sa/…',
  );
  const conversations = new Map<string, Conversation>();
  for (const line of nodeNames.flatMap(node => stage.accessLines(node))) {
    // The destination's side decides, so its lines tell most: tunnels that arrived, and the same node.
    if (line['direction'] === 'outbound') continue;
    const between: Conversation['between'] = [
      account(line['src.identity']),
      account(line['dst.identity']),
      String(line['dst.service'] ?? '(by address)').replace('.svc.cluster.local', ''),
      ways[String(line['security'])] ?? String(line['security']),
      outcome(line),
    ];
    const key = between.join(' ');
    const conversation = conversations.get(key) ?? { between, connections: 0, up: 0, down: 0 };
    conversations.set(key, conversation);
    const [up, down] = bytes(line);
    conversation.connections += 1;
    conversation.up += up;
    conversation.down += down;
  }
  const rows = [...conversations.values()].map(({ between, connections, up, down }) => {
    const [from, to, service, way, policy] = between;
    return [from, to, service, way, grouped(connections), grouped(up), grouped(down), policy];
  });
  const byName = rows.toSorted((left, right) => left.join(' ').localeCompare(right.join(' ')));
  report.table(['FROM', 'TO', 'SERVICE', 'WAY', 'CONNECTIONS', 'BYTES →', 'BYTES ←', 'POLICY'], byName);
}

/** Client → server and server → client; an inbound line counts as its server sees it. */
function bytes(line: AccessLine): [up: number, down: number] {
  const [sent, received] = [Number(line['bytes_sent']), Number(line['bytes_recv'])];
  return line['direction'] === 'inbound' ? [received, sent] : [sent, received];
}

function outcome(line: AccessLine): string {
  const by = line['policy'] === undefined ? '' : ` by ${line['policy']}`;
  if (line['code'] === 'POLICY_DENIED') return `refused${by}`;
  if (line['code'] === 'POLICY_CHANGED') return `cut${by}`;
  return line['code'] === undefined ? `allowed${by}` : String(line['code']);
}

function account(identity: string | number | undefined): string {
  return String(identity ?? 'unknown').replace('spiffe://cluster.local/ns/shop/sa/', '');
}
