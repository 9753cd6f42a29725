/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Makes the maps and nothing else. Any kernel from 5.9 on (SOCKHASH with 64-bit values, LRU, socket storage).
 */
#include "maps.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
