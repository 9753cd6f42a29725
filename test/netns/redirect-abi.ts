/**
 * agent/redirect-abi.ts against bpf/culvert.h: the compiler is asked for every size, offset and name that TypeScript repeats.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import {
  decodePassage,
  decodePathEvents,
  decodeVerdict,
  decodeVerdictKey,
  encodeLeg,
  encodePathConfig,
  encodeVerdict,
  encodeVerdictKey,
  pathSizes,
} from '../../agent/kernel-path-abi.ts';
import { encodeService, maxChoices, maxServices } from '../../agent/kernel-path-service-abi.ts';
import {
  abi,
  counterNames,
  decodeAddress,
  decodeDnsServers,
  decodePod,
  encodeAddress,
  encodeDnsClient,
  encodeEndpoint,
  encodeKubelet,
  encodePod,
  encodeProbe,
  isKubelet,
  sizes,
} from '../../agent/redirect-abi.ts';

const program = `
#include <stddef.h>
#include <stdio.h>
#include "culvert.h"
#define SIZE(name, type) printf("\\"" #name "\\": %zu, ", sizeof(struct type));
#define AT(type, field) printf("\\"" #type "." #field "\\": %zu, ", offsetof(struct type, field));
#define COUNTER(name) "," #name
int main(void) {
  printf("{");
  SIZE(address, culvert_address) SIZE(config, culvert_config) SIZE(pod, culvert_pod) SIZE(name, culvert_name)
  SIZE(endpoint, culvert_endpoint) SIZE(memo, culvert_memo) SIZE(dnsClient, culvert_dns_client) SIZE(dnsServers, culvert_dns_servers)
  SIZE(flow, culvert_flow) SIZE(kubelet, culvert_kubelet)
  SIZE(pathConfig, culvert_path_config) SIZE(verdictKey, culvert_verdict_key) SIZE(verdict, culvert_verdict)
  SIZE(grant, culvert_grant) SIZE(opening, culvert_opening) SIZE(passageEnd, culvert_passage_end)
  SIZE(passage, culvert_passage) SIZE(passageSock, culvert_passage_sock) SIZE(pathEvent, culvert_path_event)
  SIZE(choice, culvert_choice) SIZE(service, culvert_service) SIZE(leg, culvert_leg)
  AT(culvert_path_config, limit) AT(culvert_path_config, flags) AT(culvert_verdict_key, port)
  AT(culvert_verdict, slot) AT(culvert_passage, source_netns) AT(culvert_passage, opened_ns) AT(culvert_passage, slot)
  AT(culvert_passage, end) AT(culvert_passage_end, received) AT(culvert_passage_end, state)
  AT(culvert_passage_end, error) AT(culvert_path_event, kind) AT(culvert_path_event, passage)
  AT(culvert_passage, service_port) AT(culvert_passage, service) AT(culvert_service, count) AT(culvert_service, choice)
  AT(culvert_choice, port) AT(culvert_choice, flags) AT(culvert_choice, share) AT(culvert_choice, other)
  AT(culvert_leg, agent) AT(culvert_leg, application_port)
  AT(culvert_kubelet, cgroup) AT(culvert_kubelet, pid_device) AT(culvert_kubelet, pid_inode)
  AT(culvert_kubelet, pid) AT(culvert_kubelet, name)
  AT(culvert_pod, ip6) AT(culvert_pod, flags) AT(culvert_pod, generation)
  AT(culvert_name, port) AT(culvert_name, role) AT(culvert_name, stands_for_port) AT(culvert_name, verdict)
  AT(culvert_endpoint, port) AT(culvert_dns_client, port) AT(culvert_dns_client, family)
  printf("\\"maxServices\\": %d, \\"maxChoices\\": %d, ", CULVERT_MAX_SERVICES, CULVERT_MAX_CHOICES);
  printf("\\"abi\\": %d, \\"counters\\": \\"%s\\"}", CULVERT_ABI, (CULVERT_COUNTERS(COUNTER)) + 1);
}`;

const directory = t.testdir({ 'abi.c': program });
const binary = join(directory, 'abi');
execFileSync('cc', ['-I', join(import.meta.dirname, '../../bpf'), join(directory, 'abi.c'), '-o', binary]);
const header = JSON.parse(execFileSync(binary, { encoding: 'utf8' })) as Record<string, number | string>;

t.equal(header['abi'], abi);
t.same(String(header['counters']).split(','), counterNames);
for (const [name, size] of Object.entries({ ...sizes, ...pathSizes }))
  t.equal(header[name], size, `size of ${name}`);

t.test('fields are where the header has them', async t => {
  const pod = encodePod({
    ip4: '10.1.2.3',
    ip6: 'fd00::1',
    failMode: 'closed',
    dnsCapture: true,
    generation: 7,
  });
  t.same(pod.subarray(0, 16).toString('hex'), '00000000000000000000ffff0a010203');
  t.same(
    pod.subarray(Number(header['culvert_pod.ip6'])).subarray(0, 16).toString('hex'),
    'fd000000000000000000000000000001',
  );
  t.equal(pod.readUInt32LE(Number(header['culvert_pod.flags'])), 3);
  t.equal(pod.readUInt32LE(Number(header['culvert_pod.generation'])), 7);
  const probe = encodeProbe({ address: '192.0.2.1', port: 9 }, 4711);
  t.equal(probe.readUInt16BE(Number(header['culvert_name.port'])), 9);
  t.equal(probe.readUInt16LE(Number(header['culvert_name.role'])), 5);
  t.equal(probe.readUInt16BE(Number(header['culvert_name.stands_for_port'])), 4711);
  const client = encodeDnsClient(0x1122334455667788n, 40_000, 6);
  t.equal(client.readUInt16LE(Number(header['culvert_dns_client.port'])), 40_000);
  t.equal(client.readUInt16LE(Number(header['culvert_dns_client.family'])), 6);
});

t.test('the kubelet is where the header has it', async t => {
  const device = 0xab000cdn;
  const kubelet = encodeKubelet({
    netns: 7n,
    cgroup: 8n,
    pid: 4711,
    pidNamespace: { device, inode: 9n },
    name: 'a-name-of-many-letters',
  });
  t.equal(kubelet.readBigUInt64LE(0), 7n);
  t.equal(kubelet.readBigUInt64LE(Number(header['culvert_kubelet.cgroup'])), 8n);
  t.equal(kubelet.readBigUInt64LE(Number(header['culvert_kubelet.pid_device'])), 0xabcdn);
  t.equal(kubelet.readBigUInt64LE(Number(header['culvert_kubelet.pid_inode'])), 9n);
  t.equal(kubelet.readUInt32LE(Number(header['culvert_kubelet.pid'])), 4711);
  const name = kubelet.subarray(Number(header['culvert_kubelet.name'])).subarray(0, 16);
  t.equal(name.toString('latin1'), 'a-name-of-many-\0', 'cut as the kernel cuts it');
  t.ok(encodeKubelet(null).equals(Buffer.alloc(sizes.kubelet)));
  t.notOk(isKubelet(null));
  t.notOk(isKubelet(encodeProbe({ address: '192.0.2.1', port: 9 }, 4711)));
});

t.test('what is written is read again', async t => {
  for (const ip of ['0.0.0.1', '10.1.2.3', '255.255.255.255', '::1', 'fd00::1', '2001:db8:1:2:3:4:5:6']) {
    t.equal(decodeAddress(encodeAddress(ip)), ip);
  }
  t.equal(decodeAddress(encodeAddress('::ffff:10.1.2.3')), '10.1.2.3');
  t.equal(decodeAddress(encodeAddress(null)), null);
  t.throws(() => encodeAddress('10.1.2'), { code: 'REDIRECT_BAD_ADDRESS' });
  const entry = {
    ip4: null,
    ip6: 'fd00::1',
    failMode: 'open',
    dnsCapture: false,
    generation: 4_294_967_295,
  } as const;
  t.same(decodePod(encodePod(entry)), entry);
  const server = Buffer.concat([encodeAddress('192.0.2.53'), Buffer.from([0, 53, 0, 0])]);
  t.same(decodeDnsServers(Buffer.concat([server, Buffer.alloc(60)])), [{ address: '192.0.2.53', port: 53 }]);
});

t.test('the kernel path is where the header has it', async t => {
  const at = (name: string): number => Number(header[name]);
  const config = encodePathConfig({ enabled: true, joins: true, limit: 4096, graceMs: 2 });
  t.equal(config.readBigUInt64LE(0), 2_000_000n);
  t.equal(config.readUInt32LE(at('culvert_path_config.limit')), 4096);
  t.equal(config.readUInt32LE(at('culvert_path_config.flags')), 3);
  const key = { source: 7n, address: 'fd00::1', port: 8080 };
  t.equal(encodeVerdictKey(key).readUInt16BE(at('culvert_verdict_key.port')), 8080);
  t.same(decodeVerdictKey(encodeVerdictKey(key)), key);
  const verdict = { destination: 9n, slot: 5, serial: 6 };
  t.equal(encodeVerdict(verdict).readUInt32LE(at('culvert_verdict.slot')), 5);
  t.same(decodeVerdict(encodeVerdict(verdict)), verdict);

  const leg = encodeLeg(42n, { address: 'fd00::1', port: 1 }, { address: 'fd00::2', port: 2 });
  t.equal(leg.readBigUInt64LE(0), 42n);
  t.equal(decodeAddress(leg.subarray(at('culvert_leg.agent')).subarray(0, 16)), 'fd00::2');
  t.equal(leg.readUInt16BE(at('culvert_leg.application_port')), 1);

  const event = Buffer.alloc(pathSizes.pathEvent);
  event.writeBigUInt64LE(40n, 0);
  event.writeUInt32LE(2, at('culvert_path_event.kind'));
  const passage = event.subarray(at('culvert_path_event.passage'));
  passage.writeBigUInt64LE(9n, 0);
  encodeAddress('10.0.0.1').copy(passage, 8);
  encodeAddress('10.0.0.2').copy(passage, 24);
  passage.writeBigUInt64LE(7n, at('culvert_passage.source_netns'));
  passage.writeUInt32LE(5, at('culvert_passage.slot'));
  const server = at('culvert_passage.end') + pathSizes.passageEnd;
  passage.writeBigUInt64LE(123n, server + at('culvert_passage_end.received'));
  passage.writeUInt32LE(3, server + at('culvert_passage_end.state'));
  passage.writeUInt32LE(104, server + at('culvert_passage_end.error'));
  const [closed] = decodePathEvents(event);
  t.match(closed, {
    kind: 'closed',
    passage: { id: 40n, sourceNetns: 7n, targetNetns: 9n, slot: 5, up: 123 },
  });
  t.match(decodePassage(1n, passage), { accepted: true, joined: true, serverError: 104, down: 0 });
  t.same(decodePathEvents(event.subarray(1)), [], 'half a record is none');

  t.equal(decodePassage(1n, passage).service, null, 'the pod itself was asked for');
  passage.writeUInt16BE(80, at('culvert_passage.service_port'));
  encodeAddress('10.96.0.1').copy(passage, at('culvert_passage.service'));
  t.same(decodePassage(1n, passage).service, { address: '10.96.0.1', port: 80 });
});

t.test('a Service is where the header has it', async t => {
  const at = (name: string): number => Number(header[name]);
  t.equal(maxServices, header['maxServices']);
  t.equal(maxChoices, header['maxChoices']);
  const key = { source: 7n, address: '10.96.0.1', port: 80 };
  const service = encodeService(key, [
    { address: '10.0.0.2', port: 8080, weight: 3, here: true },
    { address: 'fd00::2', port: 8081, weight: 1, here: false },
  ]);
  t.same(decodeVerdictKey(service), key);
  t.equal(service.readUInt32LE(at('culvert_service.count')), 2);
  const first = service.subarray(at('culvert_service.choice'));
  t.equal(decodeAddress(first.subarray(0, 16)), '10.0.0.2');
  t.equal(first.readUInt16BE(at('culvert_choice.port')), 8080);
  t.equal(first.readUInt16LE(at('culvert_choice.flags')), 1);
  t.equal(first.readUInt32LE(at('culvert_choice.share')), 2 ** 32 - 1, 'its column is its own');
  const second = first.subarray(pathSizes.choice);
  t.equal(decodeAddress(second.subarray(0, 16)), 'fd00::2');
  t.equal(second.readUInt16LE(at('culvert_choice.flags')), 0);
  t.equal(second.readUInt32LE(at('culvert_choice.share')), 2 ** 31, 'and half of the other');
  t.equal(second.readUInt32LE(at('culvert_choice.other')), 0);
  const endpoint = encodeEndpoint({ address: '10.0.0.2', port: 8080 });
  t.equal(endpoint.length, sizes.endpoint);
  t.equal(endpoint.readUInt16BE(at('culvert_endpoint.port')), 8080);
});
