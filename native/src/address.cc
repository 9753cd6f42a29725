#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace {

constexpr uint8_t kMappedPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

std::optional<SocketName> ParseSocketName(const std::string& ip, uint16_t port) {
  SocketName name{};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&name.storage);
  if (inet_pton(AF_INET, ip.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    name.length = sizeof(*v4);
    return name;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&name.storage);
  if (inet_pton(AF_INET6, ip.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    name.length = sizeof(*v6);
    return name;
  }
  return std::nullopt;
}

bool ParseMapped(const std::string& ip, uint8_t out[16]) {
  std::copy(std::begin(kMappedPrefix), std::end(kMappedPrefix), out);
  return inet_pton(AF_INET, ip.c_str(), out + sizeof(kMappedPrefix)) == 1 ||
         inet_pton(AF_INET6, ip.c_str(), out) == 1;
}

Napi::Object ToSocketAddress(Napi::Env env, const uint8_t ip[16], uint16_t port) {
  char text[INET6_ADDRSTRLEN];
  bool mapped = std::equal(std::begin(kMappedPrefix), std::end(kMappedPrefix), ip);
  if (mapped) {
    inet_ntop(AF_INET, ip + sizeof(kMappedPrefix), text, sizeof(text));
  } else {
    inet_ntop(AF_INET6, ip, text, sizeof(text));
  }
  Napi::Object address = Napi::Object::New(env);
  address.Set("address", Napi::String::New(env, text));
  address.Set("port", Napi::Number::New(env, port));
  return address;
}

std::optional<Napi::Object> ToSocketAddress(Napi::Env env, const SocketName& name) {
  uint8_t ip[16];
  if (name.family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&name.storage);
    std::copy(std::begin(kMappedPrefix), std::end(kMappedPrefix), ip);
    std::memcpy(ip + sizeof(kMappedPrefix), &v4->sin_addr, sizeof(v4->sin_addr));
    return ToSocketAddress(env, ip, ntohs(v4->sin_port));
  }
  if (name.family() == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&name.storage);
    std::memcpy(ip, &v6->sin6_addr, sizeof(ip));
    return ToSocketAddress(env, ip, ntohs(v6->sin6_port));
  }
  return std::nullopt;
}

std::string FormatHostPort(const std::string& ip, uint16_t port) {
  bool bracketed = ip.find(':') != std::string::npos;
  return (bracketed ? "[" + ip + "]" : ip) + ":" + std::to_string(port);
}
