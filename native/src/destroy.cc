// Ends a TCP connection that belongs to somebody else, in another network namespace: SOCK_DESTROY of inet_diag, as
// `ss -K` does. Its peer gets a reset, its program ECONNABORTED.
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "address.h"
#include "arguments.h"
#include "error.h"
#include "exports.h"
#include "fd.h"
#include "netns_thread.h"

namespace {

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 diag;
};

Request MakeRequest(int family, const uint8_t local[16], uint16_t local_port, const uint8_t remote[16],
                    uint16_t remote_port) {
  Request request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = SOCK_DESTROY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.diag.sdiag_family = static_cast<__u8>(family);
  request.diag.sdiag_protocol = IPPROTO_TCP;
  request.diag.idiag_states = ~0u;
  request.diag.id.idiag_sport = htons(local_port);
  request.diag.id.idiag_dport = htons(remote_port);
  request.diag.id.idiag_cookie[0] = request.diag.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  size_t skip = family == AF_INET ? 12 : 0;
  std::memcpy(request.diag.id.idiag_src, local + skip, 16 - skip);
  std::memcpy(request.diag.id.idiag_dst, remote + skip, 16 - skip);
  return request;
}

// Returns 0 or the errno that the kernel answers.
int Send(int fd, const Request& request) {
  if (send(fd, &request, sizeof(request), 0) < 0) return errno;
  union {
    nlmsghdr header;
    char bytes[4096];
  } answer{};
  ssize_t got = recv(fd, &answer, sizeof(answer), 0);
  if (got < 0) return errno;
  if (got < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(nlmsgerr)) || answer.header.nlmsg_type != NLMSG_ERROR) {
    return EBADMSG;
  }
  return -reinterpret_cast<nlmsgerr*>(NLMSG_DATA(&answer.header))->error;
}

bool IsMapped(const uint8_t ip[16]) {
  static constexpr uint8_t kPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(ip, kPrefix, sizeof(kPrefix)) == 0;
}

}  // namespace

Napi::Value DestroyConnection(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int netns_fd = args.Fd(0, "netnsFd");
  Napi::Object local = args.Object(1, "local");
  Napi::Object remote = args.Object(2, "remote");
  std::string local_ip = args.Text(local, "address");
  auto local_port = static_cast<uint16_t>(args.Integer(local, "port", 1, 65535));
  std::string remote_ip = args.Text(remote, "address");
  auto remote_port = static_cast<uint16_t>(args.Integer(remote, "port", 1, 65535));
  if (!args.ok()) return env.Undefined();

  std::string attempt = "SOCK_DESTROY " + FormatHostPort(local_ip, local_port);
  uint8_t from[16], to[16];
  if (!ParseMapped(local_ip, from) || !ParseMapped(remote_ip, to)) {
    return Throw(env, {EINVAL, attempt, "not an IP address", ""});
  }
  int family = IsMapped(from) ? AF_INET : AF_INET6;
  Request request = MakeRequest(family, from, local_port, to, remote_port);
  int error = 0;
  int entered = RunInNetns(netns_fd, [&] {
    OwnedFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    error = fd.valid() ? Send(fd.get(), request) : errno;
  });
  if (entered != 0) return Throw(env, entered, "setns(CLONE_NEWNET)");
  if (error != 0 && error != ENOENT) return Throw(env, error, attempt);
  return Napi::Boolean::New(env, error == 0);
}
