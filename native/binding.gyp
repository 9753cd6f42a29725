# Builds build/Release/culvert.node; with -Dwith_asan=1 also culvert-asan.node from the same sources (asan.sh).
{
  'variables': { 'with_asan%': 0 },
  'target_defaults': {
    'sources': [
      'src/addon.cc',
      'src/address.cc',
      'src/arguments.cc',
      'src/attach_types.cc',
      'src/batch.cc',
      'src/bpf_kind.cc',
      'src/descriptors.cc',
      'src/destroy.cc',
      'src/error.cc',
      'src/filesystem.cc',
      'src/info.cc',
      'src/libbpf_log.cc',
      'src/link.cc',
      'src/machine.cc',
      'src/map.cc',
      'src/map_shape.cc',
      'src/memory.cc',
      'src/netns.cc',
      'src/netns_sockets.cc',
      'src/netns_thread.cc',
      'src/object.cc',
      'src/probe.cc',
      'src/ringbuf.cc',
      'src/ringread.cc',
      'src/rodata.cc',
      'src/run.cc',
      'src/socket.cc',
      'src/socket_loop.cc',
      'src/socket_queue.cc',
      'src/storage.cc',
      'src/test_run.cc',
    ],
    'include_dirs': ['../bpf'],
    'defines': [
      'NAPI_VERSION=9',
      'NAPI_DISABLE_CPP_EXCEPTIONS',
      'NODE_ADDON_API_DISABLE_DEPRECATED',
    ],
    # The headers of others as system headers: the warnings below are for our code.
    'cflags_cc': [
      '-std=c++20', '-Wall', '-Wextra', '-fvisibility=hidden',
      '-isystem', '../../node_modules/node-addon-api',
    ],
    'libraries': ['-lbpf', '-lelf', '-lz'],
    # nodelete: the namespace thread and libbpf's print callback run this code after the last worker unloaded it.
    'ldflags': ['-Wl,-z,nodelete', '-Wl,-z,relro,-z,now', '-Wl,-Bsymbolic'],
  },
  'targets': [{ 'target_name': 'culvert' }],
  'conditions': [
    ['with_asan==1', {
      'targets': [{
        'target_name': 'culvert-asan',
        'cflags_cc': ['-fsanitize=address', '-fno-omit-frame-pointer', '-g', '-O1'],
        'ldflags': ['-fsanitize=address'],
      }],
    }],
  ],
}
