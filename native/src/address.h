// Addresses between text, sockaddr and the 16 bytes that BPF maps hold.
#pragma once

#include <napi.h>
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>

struct SocketName {
  sockaddr_storage storage;
  socklen_t length;

  int family() const { return storage.ss_family; }
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// Parses an IP literal of either family; nothing where the text is none.
std::optional<SocketName> ParseSocketName(const std::string& ip, uint16_t port);

// Writes the 16 bytes of an IP literal, IPv4 as ::ffff:a.b.c.d; false where the text is none.
bool ParseMapped(const std::string& ip, uint8_t out[16]);

// { address, port } with the address canonical: what is v4-mapped becomes dotted IPv4.
Napi::Object ToSocketAddress(Napi::Env env, const uint8_t ip[16], uint16_t port);

// The same of what getsockname returned; nothing for a family other than IPv4 and IPv6.
std::optional<Napi::Object> ToSocketAddress(Napi::Env env, const SocketName& name);

// "10.0.0.1:80" or "[fd00::1]:80", for errors.
std::string FormatHostPort(const std::string& ip, uint16_t port);
