/* SPDX-License-Identifier: Apache-2.0 */
/* OP-TEE's additions, as far as nautilus-state uses them. */
#ifndef TEE_INTERNAL_API_EXTENSIONS_H
#define TEE_INTERNAL_API_EXTENSIONS_H

#define TEE_STORAGE_PRIVATE_RPMB 0x80000100

#endif /* TEE_INTERNAL_API_EXTENSIONS_H */
