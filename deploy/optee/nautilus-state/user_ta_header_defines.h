/* SPDX-License-Identifier: Apache-2.0 */
/* OP-TEE's TA dev kit includes this file by its name. */
#ifndef USER_TA_HEADER_DEFINES_H
#define USER_TA_HEADER_DEFINES_H

#include "nautilus_state.h"

#define TA_UUID NAUTILUS_STATE_UUID

/* One instance for all sessions: calls come one after the other, so that two cannot count at once. */
#define TA_FLAGS (TA_FLAG_SINGLE_INSTANCE | TA_FLAG_MULTI_SESSION)

#define TA_STACK_SIZE (4 * 1024)

/* Two copies of the largest state, and room for the key's operation. */
#define TA_DATA_SIZE (64 * 1024)

#define TA_VERSION "1.0"
#define TA_DESCRIPTION "Seals a Nautilus node's state, and counts"

#endif /* USER_TA_HEADER_DEFINES_H */
