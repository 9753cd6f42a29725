#include "rodata.h"

#include <bpf/btf.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <string_view>
#include <vector>

namespace {

// Where a variable lies: in which section, at which offset, how many bytes.
struct Variable {
  std::string section;
  __u32 offset;
  __u32 size;
};

// The BTF of the object lists each section of globals as a DATASEC with its variables.
std::optional<Variable> FindVariable(const btf* types, std::string_view symbol) {
  __u32 count = types == nullptr ? 0 : btf__type_cnt(types);
  for (__u32 id = 1; id < count; id++) {
    const btf_type* section = btf__type_by_id(types, id);
    if (!btf_is_datasec(section)) continue;
    std::string name = btf__name_by_offset(types, section->name_off);
    if (name != ".rodata" && !name.starts_with(".rodata.")) continue;
    const btf_var_secinfo* variables = btf_var_secinfos(section);
    for (__u32 i = 0; i < btf_vlen(section); i++) {
      const btf_type* variable = btf__type_by_id(types, variables[i].type);
      if (symbol == btf__name_by_offset(types, variable->name_off)) {
        return Variable{name, variables[i].offset, variables[i].size};
      }
    }
  }
  return std::nullopt;
}

// libbpf names the map of a section "<object>.rodata" or, for one with a suffix, ".rodata.<suffix>".
bpf_map* FindSectionMap(bpf_object* object, const std::string& section) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (bpf_map__is_internal(map) && std::string_view(bpf_map__name(map)).ends_with(section)) return map;
  }
  return nullptr;
}

// The 64 bits of a whole number, and whether it was negative.
struct Whole {
  uint64_t bits;
  bool negative;
};

std::optional<Whole> ReadWhole(Napi::Value value) {
  if (value.IsBigInt()) {
    auto number = value.As<Napi::BigInt>();
    bool fits_unsigned = false, fits_signed = false;
    uint64_t bits = number.Uint64Value(&fits_unsigned);
    int64_t with_sign = number.Int64Value(&fits_signed);
    if (fits_unsigned) return Whole{bits, false};
    if (fits_signed) return Whole{static_cast<uint64_t>(with_sign), true};
    return std::nullopt;
  }
  if (!value.IsNumber()) return std::nullopt;
  double number = value.As<Napi::Number>().DoubleValue();
  constexpr double most = 9007199254740991;  // Number.MAX_SAFE_INTEGER
  if (std::trunc(number) != number || std::fabs(number) > most) return std::nullopt;
  return Whole{static_cast<uint64_t>(static_cast<int64_t>(number)), number < 0};
}

bool Fits(const Whole& whole, __u32 size) {
  if (size >= 8) return true;
  unsigned bits = size * 8;
  if (whole.negative) return static_cast<int64_t>(whole.bits) >= -(int64_t{1} << (bits - 1));
  return whole.bits >> bits == 0;
}

// libbpf opens objects of this machine's byte order only, so the value is stored as the machine stores numbers.
void StoreWhole(uint8_t* target, uint64_t bits, __u32 size) {
  auto store = [target](auto number) { std::memcpy(target, &number, sizeof(number)); };
  if (size == 1) return store(static_cast<uint8_t>(bits));
  if (size == 2) return store(static_cast<uint16_t>(bits));
  if (size == 4) return store(static_cast<uint32_t>(bits));
  return store(bits);
}

}  // namespace

std::optional<Failure> SetRodata(bpf_object* object, const std::string& symbol, Napi::Value value) {
  std::string attempt = "set rodata " + symbol;
  auto variable = FindVariable(bpf_object__btf(object), symbol);
  if (!variable) return Failure{ENOENT, attempt, "the object has no such const volatile global", ""};
  __u32 size = variable->size;
  if (size != 1 && size != 2 && size != 4 && size != 8) {
    return Failure{EINVAL, attempt, "it has " + std::to_string(size) + " bytes and is no number", ""};
  }
  auto whole = ReadWhole(value);
  if (!whole || !Fits(*whole, size)) {
    return Failure{ERANGE, attempt, "the value is no whole number of " + std::to_string(size) + " bytes", ""};
  }
  bpf_map* map = FindSectionMap(object, variable->section);
  size_t section_size = 0;
  const void* section = map == nullptr ? nullptr : bpf_map__initial_value(map, &section_size);
  if (section == nullptr || variable->offset + size > section_size) {
    return Failure{EINVAL, attempt, "the object has no section " + variable->section, ""};
  }
  auto* bytes = static_cast<const uint8_t*>(section);
  std::vector<uint8_t> changed(bytes, bytes + section_size);
  StoreWhole(changed.data() + variable->offset, whole->bits, size);
  if (bpf_map__set_initial_value(map, changed.data(), changed.size()) != 0) return Failure{errno, attempt, "", ""};
  return std::nullopt;
}
