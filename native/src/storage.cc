// Reads and writes what the BPF programs remember of one socket: BPF_MAP_TYPE_SK_STORAGE, whose key in user space is a
// descriptor of the socket. Stands at accept (where did the client want to go) and before dial (who is the client).
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <culvert.h>

#include <cerrno>
#include <cstring>

#include "address.h"
#include "arguments.h"
#include "error.h"
#include "exports.h"

namespace {

// The kernel copies as many bytes as the map says, so a map of another shape would be written past our struct.
bool IsNameStorage(int map_fd) {
  bpf_map_info info{};
  __u32 length = sizeof(info);
  if (bpf_obj_get_info_by_fd(map_fd, &info, &length) != 0) return false;
  return info.type == BPF_MAP_TYPE_SK_STORAGE && info.value_size == sizeof(culvert_name);
}

Failure WrongMap(int map_fd, const char* attempt) {
  return {EINVAL, attempt, "descriptor " + std::to_string(map_fd) + " is no socket storage of struct culvert_name", ""};
}

}  // namespace

Napi::Value OriginalDestination(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int map_fd = args.Fd(0, "mapFd");
  int socket_fd = args.Fd(1, "socketFd");
  if (!args.ok()) return env.Undefined();

  constexpr const char* attempt = "bpf(BPF_MAP_LOOKUP_ELEM) of a socket";
  if (!IsNameStorage(map_fd)) return Throw(env, WrongMap(map_fd, attempt));
  culvert_name name{};
  if (bpf_map_lookup_elem(map_fd, &socket_fd, &name) != 0) {
    return errno == ENOENT ? env.Null() : Throw(env, errno, attempt);
  }
  // Only what sockops found out on accept tells where a client wanted to go.
  if (name.role != CULVERT_NAME_ACCEPTED) return env.Null();
  Napi::Object found = ToSocketAddress(env, reinterpret_cast<const uint8_t*>(&name.address), ntohs(name.port));
  found.Set("chosen", name.chosen_port == 0 ? env.Null()
                                            : ToSocketAddress(env, reinterpret_cast<const uint8_t*>(&name.chosen),
                                                              ntohs(name.chosen_port)));
  return found;
}

Napi::Value SetPeerName(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int map_fd = args.Fd(0, "mapFd");
  int socket_fd = args.Fd(1, "socketFd");
  std::string address = args.Text(2, "address");
  auto port = static_cast<uint16_t>(args.Integer(3, "port", 0, 65535));
  if (!args.ok()) return env.Undefined();

  constexpr const char* attempt = "bpf(BPF_MAP_UPDATE_ELEM) of a socket";
  uint8_t ip[16];
  if (!ParseMapped(address, ip)) return Throw(env, {EINVAL, attempt, address + " is not an IP address", ""});
  if (!IsNameStorage(map_fd)) return Throw(env, WrongMap(map_fd, attempt));
  culvert_name name{};
  static_assert(sizeof(name.address) == sizeof(ip));
  std::memcpy(&name.address, ip, sizeof(ip));
  name.port = htons(port);
  name.role = CULVERT_NAME_DIAL;
  if (bpf_map_update_elem(map_fd, &socket_fd, &name, BPF_ANY) != 0) return Throw(env, errno, attempt);
  return env.Undefined();
}
