// The export list, in the order of native.ts. Loads in any number of threads of a process: state that is not of the
// process by nature (the namespace thread) is of the environment (error.cc, ringbuf.cc).
#include <napi.h>

#include "error.h"
#include "exports.h"
#include "libbpf_log.h"

namespace {

struct Export {
  const char* name;
  Napi::Value (*function)(const Napi::CallbackInfo&);
};

constexpr Export kExports[] = {
    {"setErrorFactory", SetErrorFactory},
    // network namespaces
    {"openNetns", OpenNetns},
    {"netnsCookie", NetnsCookie},
    {"hasIpv6", HasIpv6},
    {"netnsSysctl", NetnsSysctl},
    // sockets
    {"tcpSockets", TcpSockets},
    {"tcpListener", TcpListener},
    {"udpSocket", UdpSocket},
    {"socketAddress", GetSocketAddress},
    {"resetOnClose", ResetOnClose},
    {"setKeepalive", SetKeepalive},
    {"destroyConnection", DestroyConnection},
    {"duplicate", Duplicate},
    {"close", Close},
    // sockets on the event loop
    {"socketLoopOpen", SocketLoopOpen},
    {"socketLoopEnd", SocketLoopEnd},
    {"socketLoopListen", SocketLoopListen},
    {"socketLoopAccept", SocketLoopAccept},
    {"socketLoopAdopt", SocketLoopAdopt},
    {"socketLoopWatch", SocketLoopWatch},
    {"socketLoopUnwatch", SocketLoopUnwatch},
    {"socketLoopDisown", SocketLoopDisown},
    {"socketLoopRelease", SocketLoopRelease},
    {"connect", Connect},
    {"receive", Receive},
    {"send", Send},
    {"push", Push},
    {"endWrites", EndWrites},
    // sockets for another thread
    {"socketQueue", SocketQueue},
    {"passSocket", PassSocket},
    {"takeSocket", TakeSocket},
    // descriptors for another process
    {"descriptorSocket", DescriptorSocket},
    {"sendDescriptors", SendDescriptors},
    {"receiveDescriptors", ReceiveDescriptors},
    {"peerUser", PeerUser},
    // what BPF remembers of a socket
    {"originalDestination", OriginalDestination},
    {"setPeerName", SetPeerName},
    // the machine
    {"monotonicNs", MonotonicNs},
    {"cgroupId", CgroupId},
    {"enterCgroupNamespace", EnterCgroupNamespace},
    {"raiseFileLimit", RaiseFileLimit},
    {"releaseMemory", ReleaseMemory},
    {"keepBlocksApart", KeepBlocksApart},
    {"mountBpffs", MountBpffs},
    {"mountCgroup2", MountCgroup2},
    {"unmount", Unmount},
    {"probe", Probe},
    // BPF objects
    {"objectOpen", ObjectOpen},
    {"objectLoad", ObjectLoad},
    {"objectPrograms", ObjectPrograms},
    {"objectMaps", ObjectMaps},
    {"objectProgramFd", ObjectProgramFd},
    {"objectMapFd", ObjectMapFd},
    {"objectClose", ObjectClose},
    // links and pins
    {"attachCgroup", AttachCgroup},
    {"attachNetns", AttachNetns},
    {"attachSockmap", AttachSockmap},
    {"attachTracing", AttachTracing},
    {"updateLink", UpdateLink},
    {"detachLink", DetachLink},
    {"pin", Pin},
    {"unpin", Unpin},
    {"openPinned", OpenPinned},
    // what the kernel says about a descriptor
    {"linkInfo", GetLinkInfo},
    {"mapInfo", GetMapInfo},
    {"programInfo", GetProgramInfo},
    {"possibleCpus", PossibleCpus},
    // maps
    {"mapLookup", MapLookup},
    {"mapUpdate", MapUpdate},
    {"mapDelete", MapDelete},
    {"mapTake", MapTake},
    {"mapEntriesBatch", MapEntriesBatch},
    // events
    {"ringbufOpen", RingbufOpen},
    {"ringbufClose", RingbufClose},
    {"ringbufReader", RingbufReader},
    {"ringbufRead", RingbufRead},
    {"ringbufEnd", RingbufEnd},
    // programs that are attached nowhere
    {"testRun", TestRun},
    {"runProgram", RunProgram},
};

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  SilenceLibbpf();
  for (const Export& entry : kExports) {
    exports.Set(entry.name, Napi::Function::New(env, entry.function, entry.name));
  }
  return exports;
}

}  // namespace

NODE_API_MODULE(culvert, Init)
