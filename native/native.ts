/**
 * The complete typed face of the C++ addon: what Node cannot do by itself. Sockets in another network namespace, BPF
 * objects, maps, links and events, and the few options of sockets that `node:net` lacks.
 *
 * One declaration per export, in the order of src/addon.cc. All calls are synchronous and short; descriptors are plain
 * numbers that every thread of the process may use, close-on-exec, and belong to the caller unless said otherwise. A
 * failed system call throws NativeError (errors.ts), a wrong argument TypeError. Absent is null. Longer than other
 * files because of the doc comments: there is one place to look.
 */
import { native } from './addon.ts';

// ── Network namespaces ──────────────────────────────────────────────────────────────────────────────────────────

/** Opens a namespace file such as `/run/netns/x` or `/proc/7/ns/net`; throws unless it is a network namespace. */
export const openNetns: (path: string) => number = native('openNetns');

/** Returns the cookie of a network namespace, as `bpf_get_netns_cookie` sees it: never reused until reboot. */
export const netnsCookie: (netnsFd: number) => bigint = native('netnsCookie');

/** Tells whether an IPv6 listener can be opened in a network namespace. */
export const hasIpv6: (netnsFd: number) => boolean = native('hasIpv6');

/**
 * Sets a network parameter of a namespace, such as `ipv4/tcp_tw_reuse`, and returns what it was.
 */
export const netnsSysctl: (netnsFd: number, name: string, value: string) => string = native('netnsSysctl');

// ── Sockets ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Makes `count` (1–1024) unconnected non-blocking TCP sockets (TCP_NODELAY is on) inside a network namespace, all or none. */
export const tcpSockets: (netnsFd: number, family: 4 | 6, count: number) => number[] = native('tcpSockets');

export interface BindOptions {
  /** Canonical IP; its family is the socket's. `0.0.0.0` and `::` for any. */
  readonly address: string;
  /** 0 lets the kernel choose; socketAddress tells which. */
  readonly port: number;
  readonly reusePort: boolean;
  /** For an IPv6 address: false takes IPv4 too. No meaning for IPv4. */
  readonly v6Only: boolean;
}

export interface ListenOptions extends BindOptions {
  /** Connections that wait for accept; the kernel caps it at net.core.somaxconn of that namespace. */
  readonly backlog: number;
}

/** Opens a bound and listening non-blocking TCP socket inside a network namespace (SO_REUSEADDR is on). */
export const tcpListener: (netnsFd: number, options: ListenOptions) => number = native('tcpListener');

/** Opens a bound non-blocking UDP socket inside a network namespace. */
export const udpSocket: (netnsFd: number, options: BindOptions) => number = native('udpSocket');

export interface SocketAddress {
  /** Canonical: a v4-mapped address is dotted IPv4. */
  readonly address: string;
  readonly port: number;
}

/** Returns the local address of a socket (getsockname). */
export const socketAddress: (fd: number) => SocketAddress = native('socketAddress');

/** Makes close() of a TCP socket send RST instead of FIN and throw away what is unsent (SO_LINGER 0). */
export const resetOnClose: (fd: number) => void = native('resetOnClose');

/** Turns on TCP keep-alive: seconds idle before the first probe, seconds between probes, probes until given up. */
export const setKeepalive: (fd: number, idle: number, interval: number, count: number) => void =
  native('setKeepalive');

/**
 * Ends the TCP connection of another program, by its own end's name and its peer's: the peer gets a reset, the program
 * ECONNABORTED. Returns false where there is no such connection.
 */
export const destroyConnection: (netnsFd: number, local: SocketAddress, remote: SocketAddress) => boolean =
  native('destroyConnection');

/** Returns a new close-on-exec descriptor of the same open file. */
export const duplicate: (fd: number) => number = native('duplicate');

/** Closes a descriptor that no Node object owns. */
export const close: (fd: number) => void = native('close');

// ── Sockets on the event loop of a thread ───────────────────────────────────────────────────────────────────────

declare const socketLoopBrand: unique symbol;
interface SocketLoopHandle {
  readonly [socketLoopBrand]: true;
}
const socketLoopOpen: (events: Uint32Array, onReady: (count: number) => void) => SocketLoopHandle =
  native('socketLoopOpen');
const socketLoopEnd: (loop: SocketLoopHandle) => void = native('socketLoopEnd');
const socketLoopListen: (loop: SocketLoopHandle, fd: number) => void = native('socketLoopListen');
const socketLoopAccept: (loop: SocketLoopHandle, listenerFd: number) => AcceptedSocket | null =
  native('socketLoopAccept');
const socketLoopAdopt: (loop: SocketLoopHandle, fd: number) => void = native('socketLoopAdopt');
const socketLoopWatch: (loop: SocketLoopHandle, fd: number) => void = native('socketLoopWatch');
const socketLoopUnwatch: (loop: SocketLoopHandle, fd: number) => void = native('socketLoopUnwatch');
const socketLoopDisown: (loop: SocketLoopHandle, fd: number) => void = native('socketLoopDisown');
const socketLoopRelease: (loop: SocketLoopHandle, fd: number, well: boolean) => void =
  native('socketLoopRelease');

/** A socket that was accepted, non-blocking, and its peer's address as accept() tells it. */
export interface AcceptedSocket extends SocketAddress {
  readonly fd: number;
}

/** What `onReady` finds in the array of events, for each descriptor: epoll's bits. */
export const readyBits = { in: 0x1, out: 0x4, error: 0x8, hangUp: 0x10, peerEnded: 0x2000 } as const;

/**
 * Sockets on the event loop of this thread, without a Node object each. The loop owns what it accepts, adopts or listens on:
 * all of it is closed with the loop or its thread. It does not keep the thread alive.
 */
export class SocketLoop implements Disposable {
  readonly #handle: SocketLoopHandle;

  /** @param events descriptor and `readyBits`, one pair after the other; `onReady` is told how many pairs are new */
  constructor(events: Uint32Array, onReady: (count: number) => void) {
    this.#handle = socketLoopOpen(events, onReady);
  }

  /**
   * Tells of connections that wait in a listener, or sockets in a queue, as long as there are some; what is accepted has
   * TCP_NODELAY.
   */
  listen(fd: number): void {
    socketLoopListen(this.#handle, fd);
  }

  /** Takes a connection; null where none is left. Throws EMFILE and the like. */
  accept(listenerFd: number): AcceptedSocket | null {
    return socketLoopAccept(this.#handle, listenerFd);
  }

  /** Owns a socket from now on. */
  adopt(fd: number): void {
    socketLoopAdopt(this.#handle, fd);
  }

  /** Tells of each change of readiness of an own socket once (edge-triggered), beginning with what it is now. */
  watch(fd: number): void {
    socketLoopWatch(this.#handle, fd);
  }

  /** Tells no more of a socket, of which others may hold copies: the kernel goes on with those otherwise. */
  unwatch(fd: number): void {
    socketLoopUnwatch(this.#handle, fd);
  }

  /** Leaves an own socket, which is not watched, to the caller, whose close() ends it with FIN. */
  disown(fd: number): void {
    socketLoopDisown(this.#handle, fd);
  }

  /** Closes an own socket. A connection ends with FIN only where it ends `well`: else with RST, also when the process dies. */
  release(fd: number, well: boolean): void {
    socketLoopRelease(this.#handle, fd, well);
  }

  /** Closes all that it owns; a second close does nothing. */
  close(): void {
    socketLoopEnd(this.#handle);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Connects, or asks how far it is: 0 when connected, else the errno (EINPROGRESS, EALREADY: not yet). */
export const connect: (fd: number, address: string, port: number) => number = native('connect');

/** Reads into `into` from `at`: bytes read, 0 at the end, or the errno as a negative number. */
export const receive: (fd: number, into: Uint8Array, at: number) => number = native('receive');

/**
 * Writes what fits: bytes taken, or the errno as a negative number. `more`: the kernel may keep it until there is enough for a
 * large packet, until `push`, or for 200 ms (MSG_MORE, tcp(7)).
 */
export const send: (fd: number, from: Uint8Array, more: boolean) => number = native('send');

/** Sends what was kept for more. */
export const push: (fd: number) => void = native('push');

/** Sends FIN after what was written (shutdown SHUT_WR). */
export const endWrites: (fd: number) => void = native('endWrites');

// ── Sockets for another thread ──────────────────────────────────────────────────────────────────────────────────

export interface SocketQueueEnds {
  readonly in: number;
  readonly out: number;
}

/** Makes a queue by which threads hand each other sockets; what waits in it is closed with the last descriptor of `out`. */
export const socketQueue: () => SocketQueueEnds = native('socketQueue');

/** Puts a copy of a socket into a queue, with a number (32 bits) for whoever takes it. False: the queue is full. */
export const passSocket: (queueIn: number, fd: number, tag: number) => boolean = native('passSocket');

/** A socket of a queue, the caller's from now on, and its peer's address; null is what was reset meanwhile. */
export type PassedSocket = { readonly tag: number } & (AcceptedSocket | { readonly fd: null });

/** Takes the next socket out of a queue; null where none waits. Throws EMFILE and the like, and then it is closed. */
export const takeSocket: (queueOut: number) => PassedSocket | null = native('takeSocket');

// ── Descriptors for another process (SCM_RIGHTS, unix(7)) ───────────────────────────────────────────────────────

/** Binds a datagram socket at a path, mode 0600, that descriptors can be sent to. */
export const descriptorSocket: (path: string) => number = native('descriptorSocket');

/**
 * Sends copies of 1–253 descriptors to the socket at a path, or to the peer of a connected datagram socket, at once or not
 * at all. They stay the caller's.
 */
export const sendDescriptors: (to: string | number, fds: readonly number[]) => void =
  native('sendDescriptors');

/** Takes the descriptors of one message that has been sent already; throws EAGAIN where there is none. */
export const receiveDescriptors: (fd: number) => number[] = native('receiveDescriptors');

/** Returns the user id of the process at the other end of a connected Unix socket (SO_PEERCRED). */
export const peerUser: (fd: number) => number = native('peerUser');

// ── What BPF remembers of a socket (BPF_MAP_TYPE_SK_STORAGE of struct culvert_addr, bpf/culvert.h) ───────────────

export interface OriginalDestination extends SocketAddress {
  /** The endpoint that the kernel has drawn, where it knows the Service that was meant. */
  readonly chosen: SocketAddress | null;
}

/** Returns where the client of an accepted socket wanted to go, or null where nothing was recorded: not redirected. */
export const originalDestination: (mapFd: number, socketFd: number) => OriginalDestination | null =
  native('originalDestination');

/** Records on the agent's own socket, before connect, whom the application shall see as its peer. */
export const setPeerName: (mapFd: number, socketFd: number, address: string, port: number) => void =
  native('setPeerName');

// ── The machine ─────────────────────────────────────────────────────────────────────────────────────────────────

/** Returns nanoseconds of the clock that `bpf_ktime_get_ns` reads. */
export const monotonicNs: () => bigint = native('monotonicNs');

/** Returns the id of a cgroup v2 directory, as `bpf_get_current_cgroup_id` sees it. */
export const cgroupId: (path: string) => bigint = native('cgroupId');

/**
 * Lets the calling thread, and those that it starts from then on, see cgroups as they are in the namespace of that file,
 * such as `/proc/1/ns/cgroup`. Needs CAP_SYS_ADMIN there.
 */
export const enterCgroupNamespace: (path: string) => void = native('enterCgroupNamespace');

/** Raises the soft limit of open files to the hard limit; returns the limit now in force. */
export const raiseFileLimit: () => number = native('raiseFileLimit');

/**
 * Gives back what the heap of C has free, and forgets pages of code that are not in use: they come back by themselves.
 * For once after the start; takes a few milliseconds.
 */
export const releaseMemory: () => void = native('releaseMemory');

/**
 * From now on the heap of C has blocks of so many bytes and more in mappings of their own: of a large block that is hardly
 * used only what was touched takes memory, and one that is freed leaves no hole between others.
 */
export const keepBlocksApart: (bytes: number) => void = native('keepBlocksApart');

/** Mounts bpffs at an existing directory, mode 0700; returns false where bpffs was mounted already. */
export const mountBpffs: (path: string) => boolean = native('mountBpffs');

/** Mounts the cgroup v2 hierarchy at an existing directory; returns false where it was mounted already. */
export const mountCgroup2: (path: string) => boolean = native('mountCgroup2');

/** Unmounts a filesystem, lazily: what still uses it keeps it until it is done. */
export const unmount: (path: string) => void = native('unmount');

export interface Feature {
  /** Stable key, for example `sk_lookup programs`. */
  readonly name: string;
  readonly available: boolean;
  /** What brings it, for example `Linux 5.9` or `root or CAP_BPF`. */
  readonly needs: string;
  /** The version or value found, or why it is missing. */
  readonly detail: string;
}

/** Asks this kernel, by trying, for everything that Culvert builds on. A missing feature is a value, never a throw. */
export const probe: () => Feature[] = native('probe');

// ── BPF objects ─────────────────────────────────────────────────────────────────────────────────────────────────

export interface ObjectOptions {
  /** Values of `const volatile` globals by symbol, checked against the size of the variable (1, 2, 4 or 8 bytes). */
  readonly rodata: Readonly<Record<string, number | bigint>>;
  /** Descriptors of existing maps to use in place of those of the object, by map name; the shapes must agree. */
  readonly reuseMaps: Readonly<Record<string, number>>;
  /** Sizes that replace those in the source, by map name. */
  readonly maxEntries: Readonly<Record<string, number>>;
  /** Programs, by function name, that are not loaded. */
  readonly skipPrograms: readonly string[];
}

declare const objectBrand: unique symbol;
interface ObjectHandle {
  readonly [objectBrand]: true;
}
const objectOpen: (path: string, options: ObjectOptions) => ObjectHandle = native('objectOpen');
const objectLoad: (object: ObjectHandle) => void = native('objectLoad');
const objectPrograms: (object: ObjectHandle) => string[] = native('objectPrograms');
const objectMaps: (object: ObjectHandle) => string[] = native('objectMaps');
const objectProgramFd: (object: ObjectHandle, name: string) => number = native('objectProgramFd');
const objectMapFd: (object: ObjectHandle, name: string) => number = native('objectMapFd');
const objectClose: (object: ObjectHandle) => void = native('objectClose');

/** A compiled BPF object: opened, loaded, and closed; what is attached or pinned outlives it. */
export class BpfObject implements Disposable {
  readonly #handle: ObjectHandle;

  constructor(handle: ObjectHandle) {
    this.#handle = handle;
  }

  /**
   * Creates the maps and loads the programs.
   *
   * @throws NativeError whose syscall names the program or map, whose message ends in the last telling lines of the
   * verifier and whose log has all of them; the object is then only good for close()
   */
  load(): void {
    objectLoad(this.#handle);
  }

  /** Names of the programs, in the order of the source, without those skipped. */
  programs(): string[] {
    return objectPrograms(this.#handle);
  }

  /** Names of the maps, those of global variables included. */
  maps(): string[] {
    return objectMaps(this.#handle);
  }

  /** Descriptor of a loaded program. It belongs to the object: valid until close(), duplicate() it to keep it. */
  programFd(name: string): number {
    return objectProgramFd(this.#handle, name);
  }

  /** Descriptor of a map. It belongs to the object: valid until close(), duplicate() it to keep it. */
  mapFd(name: string): number {
    return objectMapFd(this.#handle, name);
  }

  /**
   * Closes the object with its descriptors; a second close does nothing. Without close() it lives until its thread
   * ends: the garbage collector never takes a descriptor that someone holds as a number.
   */
  close(): void {
    objectClose(this.#handle);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Reads a compiled BPF object; nothing reaches the kernel before load(). */
export function openObject(path: string, options: ObjectOptions): BpfObject {
  return new BpfObject(objectOpen(path, options));
}

// ── Links and pins ──────────────────────────────────────────────────────────────────────────────────────────────

export type CgroupAttachType =
  | 'connect4'
  | 'connect6'
  | 'sendmsg4'
  | 'sendmsg6'
  | 'recvmsg4'
  | 'recvmsg6'
  | 'getpeername4'
  | 'getpeername6'
  | 'getsockname4'
  | 'getsockname6'
  | 'bind4'
  | 'bind6'
  | 'post_bind4'
  | 'post_bind6'
  | 'sock_create'
  | 'sock_release'
  | 'sock_ops'
  | 'ingress'
  | 'egress'
  | 'getsockopt'
  | 'setsockopt';

/** Attaches a program to a cgroup by a link; closing the last descriptor of an unpinned link detaches it. */
export const attachCgroup: (programFd: number, cgroupFd: number, attachType: CgroupAttachType) => number =
  native('attachCgroup');

/** Attaches an sk_lookup program to a network namespace by a link. */
export const attachNetns: (programFd: number, netnsFd: number) => number = native('attachNetns');

/** Attaches an sk_msg program to a sockmap or sockhash, in place of the one that is there: sockets put in later get it. */
export const attachSockmap: (programFd: number, mapFd: number) => void = native('attachSockmap');

/** Attaches an fentry program to the kernel function that its object names; returns the link. */
export const attachTracing: (programFd: number) => number = native('attachTracing');

/** Replaces the program of a link atomically; with `expectedFd` only if that is the one it runs (EPERM otherwise). */
export const updateLink: (linkFd: number, programFd: number, expectedFd: number | null) => void =
  native('updateLink');

/** Detaches the program of a link at once, whoever else holds the link. */
export const detachLink: (linkFd: number) => void = native('detachLink');

/** Pins a program, map or link at a path on bpffs, so that it outlives the process. */
export const pin: (fd: number, path: string) => void = native('pin');

/** Removes a pin; returns false where there was none. */
export const unpin: (path: string) => boolean = native('unpin');

/** Opens what is pinned at a path; null where nothing is. */
export const openPinned: (path: string) => number | null = native('openPinned');

// ── What the kernel says about a descriptor ─────────────────────────────────────────────────────────────────────

export interface LinkInfo {
  readonly id: number;
  /** `cgroup`, `netns`, … or the number where this build has no name for it. */
  readonly type: string;
  readonly programId: number;
  /** As in CgroupAttachType, `sk_lookup`, or the number. */
  readonly attachType: string | null;
  /** For a cgroup link; 0 after the cgroup was removed. */
  readonly cgroupId: bigint | null;
  /** For a netns link, inode of the namespace file; 0 after the namespace is gone. */
  readonly netnsInode: number | null;
}
export const linkInfo: (linkFd: number) => LinkInfo = native('linkInfo');

export interface MapInfo {
  readonly id: number;
  /** At most 15 characters: the kernel keeps no more. */
  readonly name: string;
  /** In lower case as in bpftool, for example `hash` or `sk_storage`. */
  readonly type: string;
  readonly keySize: number;
  /** Bytes of one value; a per-CPU map returns possibleCpus() of them, each rounded up to 8 bytes. */
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}
export const mapInfo: (mapFd: number) => MapInfo = native('mapInfo');

export interface ProgramInfo {
  readonly id: number;
  /** At most 15 characters: the kernel keeps no more. */
  readonly name: string;
  /** In lower case as in bpftool, for example `cgroup_sock_addr`. */
  readonly type: string;
  /** 16 hex digits over the instructions: equal for equal programs. */
  readonly tag: string;
  readonly mapIds: readonly number[];
}
export const programInfo: (programFd: number) => ProgramInfo = native('programInfo');

/** Number of values in an entry of a per-CPU map. */
export const possibleCpus: () => number = native('possibleCpus');

// ── Maps ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Returns the value of a key, or null. */
export const mapLookup: (mapFd: number, key: Uint8Array) => Buffer | null = native('mapLookup');

/** `any` writes, `create` fails with EEXIST where the key exists, `replace` with ENOENT where it does not. */
export type UpdateMode = 'any' | 'create' | 'replace';
export const mapUpdate: (mapFd: number, key: Uint8Array, value: Uint8Array, mode: UpdateMode) => void =
  native('mapUpdate');

/** Deletes a key; returns false where there was none. */
export const mapDelete: (mapFd: number, key: Uint8Array) => boolean = native('mapDelete');

/** Returns the value of a key and deletes it in one step, or null. */
export const mapTake: (mapFd: number, key: Uint8Array) => Buffer | null = native('mapTake');

export interface MapEntries {
  readonly count: number;
  /** Bytes of one key in `keys`. */
  readonly keySize: number;
  /** Bytes of one value in `values`; for a per-CPU map of all its CPUs. */
  readonly valueSize: number;
  /** All keys one after the other, in the order of `values`. */
  readonly keys: Buffer;
  readonly values: Buffer;
}

/**
 * Reads a whole map, in batches where the kernel can and key by key where not. Entries that come or go meanwhile may
 * be missed; none is returned twice in one answer.
 */
export const mapEntriesBatch: (mapFd: number) => MapEntries = native('mapEntriesBatch');

// ── Events ──────────────────────────────────────────────────────────────────────────────────────────────────────

declare const ringbufBrand: unique symbol;
interface RingbufHandle {
  readonly [ringbufBrand]: true;
}
const ringbufHandle: (mapFd: number, onRecords: (records: Buffer[]) => void) => RingbufHandle =
  native('ringbufOpen');
const ringbufClose: (ringbuf: RingbufHandle) => void = native('ringbufClose');

/** A reader of a BPF ring buffer on the event loop of this thread; it keeps the loop alive until closed. */
export class Ringbuf implements Disposable {
  readonly #handle: RingbufHandle;

  constructor(handle: RingbufHandle) {
    this.#handle = handle;
  }

  /** Stops reading; no callback comes after it. A second close does nothing. */
  close(): void {
    ringbufClose(this.#handle);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Calls `onRecords` once per wake-up with the records that were ready, copied, in order. One reader per map. */
export function ringbufOpen(mapFd: number, onRecords: (records: Buffer[]) => void): Ringbuf {
  return new Ringbuf(ringbufHandle(mapFd, onRecords));
}

declare const readerBrand: unique symbol;
interface ReaderHandle {
  readonly [readerBrand]: true;
}
const ringbufReader: (mapFd: number) => ReaderHandle = native('ringbufReader');
const ringbufRead: (reader: ReaderHandle) => Buffer | null = native('ringbufRead');
const ringbufEnd: (reader: ReaderHandle) => void = native('ringbufEnd');

/** Reads a BPF ring buffer when asked, for programs that wake nobody. One reader per map. */
export class RingbufReader implements Disposable {
  readonly #handle: ReaderHandle;

  constructor(mapFd: number) {
    this.#handle = ringbufReader(mapFd);
  }

  /** All records that are ready, one after the other; null where there are none. */
  read(): Buffer | null {
    return ringbufRead(this.#handle);
  }

  /** A second close does nothing; what is read afterwards is null. */
  close(): void {
    ringbufEnd(this.#handle);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

// ── Tests of programs ───────────────────────────────────────────────────────────────────────────────────────────

export interface TestRunResult {
  /** What the program returned. */
  readonly result: number;
  /** The context as the program left it; empty where none was given. */
  readonly context: Buffer;
}

/** Runs a program once on a made-up context (BPF_PROG_TEST_RUN), for program types that support it: sk_lookup does. */
export const testRun: (programFd: number, context: Uint8Array | null) => TestRunResult = native('testRun');

/**
 * Runs a program of type tc once in a network namespace, with `payload` behind the Ethernet header of its packet; returns what
 * the program does. The namespace is entered by the addon's own thread, for which the caller waits.
 */
export const runProgram: (programFd: number, netnsFd: number, payload: Uint8Array) => number =
  native('runProgram');
