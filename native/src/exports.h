// Every function that JS can call, by the file that has it. native.ts documents them.
#pragma once

#include <napi.h>

// netns.cc
Napi::Value OpenNetns(const Napi::CallbackInfo& info);
Napi::Value NetnsCookie(const Napi::CallbackInfo& info);
Napi::Value HasIpv6(const Napi::CallbackInfo& info);
Napi::Value NetnsSysctl(const Napi::CallbackInfo& info);

// socket.cc
Napi::Value TcpSockets(const Napi::CallbackInfo& info);
Napi::Value TcpListener(const Napi::CallbackInfo& info);
Napi::Value UdpSocket(const Napi::CallbackInfo& info);
Napi::Value GetSocketAddress(const Napi::CallbackInfo& info);
Napi::Value ResetOnClose(const Napi::CallbackInfo& info);
Napi::Value SetKeepalive(const Napi::CallbackInfo& info);
Napi::Value Duplicate(const Napi::CallbackInfo& info);
Napi::Value Close(const Napi::CallbackInfo& info);

// socket_loop.cc
Napi::Value SocketLoopOpen(const Napi::CallbackInfo& info);
Napi::Value SocketLoopEnd(const Napi::CallbackInfo& info);
Napi::Value SocketLoopListen(const Napi::CallbackInfo& info);
Napi::Value SocketLoopAccept(const Napi::CallbackInfo& info);
Napi::Value SocketLoopAdopt(const Napi::CallbackInfo& info);
Napi::Value SocketLoopWatch(const Napi::CallbackInfo& info);
Napi::Value SocketLoopUnwatch(const Napi::CallbackInfo& info);
Napi::Value SocketLoopDisown(const Napi::CallbackInfo& info);
Napi::Value SocketLoopRelease(const Napi::CallbackInfo& info);
Napi::Value Connect(const Napi::CallbackInfo& info);
Napi::Value Receive(const Napi::CallbackInfo& info);
Napi::Value Send(const Napi::CallbackInfo& info);
Napi::Value Push(const Napi::CallbackInfo& info);
Napi::Value EndWrites(const Napi::CallbackInfo& info);

// socket_queue.cc
Napi::Value SocketQueue(const Napi::CallbackInfo& info);
Napi::Value PassSocket(const Napi::CallbackInfo& info);
Napi::Value TakeSocket(const Napi::CallbackInfo& info);

// descriptors.cc
Napi::Value DescriptorSocket(const Napi::CallbackInfo& info);
Napi::Value SendDescriptors(const Napi::CallbackInfo& info);
Napi::Value ReceiveDescriptors(const Napi::CallbackInfo& info);
Napi::Value PeerUser(const Napi::CallbackInfo& info);
// destroy.cc
Napi::Value DestroyConnection(const Napi::CallbackInfo& info);

// storage.cc
Napi::Value OriginalDestination(const Napi::CallbackInfo& info);
Napi::Value SetPeerName(const Napi::CallbackInfo& info);

// machine.cc
Napi::Value MonotonicNs(const Napi::CallbackInfo& info);
Napi::Value CgroupId(const Napi::CallbackInfo& info);
Napi::Value EnterCgroupNamespace(const Napi::CallbackInfo& info);
Napi::Value RaiseFileLimit(const Napi::CallbackInfo& info);
Napi::Value ReleaseMemory(const Napi::CallbackInfo& info);
Napi::Value KeepBlocksApart(const Napi::CallbackInfo& info);

// filesystem.cc
Napi::Value MountBpffs(const Napi::CallbackInfo& info);
Napi::Value MountCgroup2(const Napi::CallbackInfo& info);
Napi::Value Unmount(const Napi::CallbackInfo& info);

// probe.cc
Napi::Value Probe(const Napi::CallbackInfo& info);

// object.cc
Napi::Value ObjectOpen(const Napi::CallbackInfo& info);
Napi::Value ObjectLoad(const Napi::CallbackInfo& info);
Napi::Value ObjectPrograms(const Napi::CallbackInfo& info);
Napi::Value ObjectMaps(const Napi::CallbackInfo& info);
Napi::Value ObjectProgramFd(const Napi::CallbackInfo& info);
Napi::Value ObjectMapFd(const Napi::CallbackInfo& info);
Napi::Value ObjectClose(const Napi::CallbackInfo& info);

// link.cc
Napi::Value AttachCgroup(const Napi::CallbackInfo& info);
Napi::Value AttachNetns(const Napi::CallbackInfo& info);
Napi::Value AttachSockmap(const Napi::CallbackInfo& info);
Napi::Value AttachTracing(const Napi::CallbackInfo& info);
Napi::Value UpdateLink(const Napi::CallbackInfo& info);
Napi::Value DetachLink(const Napi::CallbackInfo& info);
Napi::Value Pin(const Napi::CallbackInfo& info);
Napi::Value Unpin(const Napi::CallbackInfo& info);
Napi::Value OpenPinned(const Napi::CallbackInfo& info);

// info.cc
Napi::Value GetLinkInfo(const Napi::CallbackInfo& info);
Napi::Value GetMapInfo(const Napi::CallbackInfo& info);
Napi::Value GetProgramInfo(const Napi::CallbackInfo& info);

// map.cc
Napi::Value PossibleCpus(const Napi::CallbackInfo& info);
Napi::Value MapLookup(const Napi::CallbackInfo& info);
Napi::Value MapUpdate(const Napi::CallbackInfo& info);
Napi::Value MapDelete(const Napi::CallbackInfo& info);
Napi::Value MapTake(const Napi::CallbackInfo& info);

// batch.cc
Napi::Value MapEntriesBatch(const Napi::CallbackInfo& info);

// ringbuf.cc
Napi::Value RingbufOpen(const Napi::CallbackInfo& info);
Napi::Value RingbufClose(const Napi::CallbackInfo& info);

// ringread.cc
Napi::Value RingbufReader(const Napi::CallbackInfo& info);
Napi::Value RingbufRead(const Napi::CallbackInfo& info);
Napi::Value RingbufEnd(const Napi::CallbackInfo& info);

// test_run.cc
Napi::Value TestRun(const Napi::CallbackInfo& info);

// run.cc
Napi::Value RunProgram(const Napi::CallbackInfo& info);
