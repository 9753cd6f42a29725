/**
 * agent/redirect-abi.ts against bpf/culvert.h: the compiler is asked for every size, offset and name that TypeScript repeats.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import {
  abi,
  counterNames,
  decodeAddress,
  decodeDnsServers,
  decodePod,
  encodeAddress,
  encodeDnsClient,
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
  SIZE(endpoint, culvert_endpoint) SIZE(dnsClient, culvert_dns_client) SIZE(dnsServers, culvert_dns_servers)
  SIZE(flow, culvert_flow) SIZE(kubelet, culvert_kubelet)
  AT(culvert_kubelet, cgroup) AT(culvert_kubelet, pid_device) AT(culvert_kubelet, pid_inode)
  AT(culvert_kubelet, pid) AT(culvert_kubelet, name)
  AT(culvert_pod, ip6) AT(culvert_pod, flags) AT(culvert_pod, generation)
  AT(culvert_name, port) AT(culvert_name, role) AT(culvert_name, stands_for_port) AT(culvert_name, verdict)
  AT(culvert_endpoint, port) AT(culvert_dns_client, port) AT(culvert_dns_client, family)
  printf("\\"abi\\": %d, \\"counters\\": \\"%s\\"}", CULVERT_ABI, (CULVERT_COUNTERS(COUNTER)) + 1);
}`;

const directory = t.testdir({ 'abi.c': program });
const binary = join(directory, 'abi');
execFileSync('cc', ['-I', join(import.meta.dirname, '../../bpf'), join(directory, 'abi.c'), '-o', binary]);
const header = JSON.parse(execFileSync(binary, { encoding: 'utf8' })) as Record<string, number | string>;

t.equal(header['abi'], abi);
t.same(String(header['counters']).split(','), counterNames);
for (const [name, size] of Object.entries(sizes)) t.equal(header[name], size, `size of ${name}`);

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
