/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of nautilus-state. The client's side is crates/tee/src/trustzone/attest/state.rs, which has the same
 * numbers.
 */
#ifndef NAUTILUS_STATE_H
#define NAUTILUS_STATE_H

/* 2644c7b2-e17b-4a36-9754-fc5c9502fc6a */
#define NAUTILUS_STATE_UUID                                                                                   \
	{ 0x2644c7b2, 0xe17b, 0x4a36, { 0x97, 0x54, 0xfc, 0x5c, 0x95, 0x02, 0xfc, 0x6a } }

/* What NAUTILUS_STATE_DESCRIBE gives first. Changes with everything below. */
#define NAUTILUS_STATE_VERSION 1

/* Most bytes that are sealed at once. */
#define NAUTILUS_STATE_MAX (16 * 1024)

/* Sealed: header ‖ nonce ‖ AES-256-GCM(key, nonce, aad = header, plaintext) ‖ tag. */
#define NAUTILUS_STATE_HEADER "NAUTILUS-OPTEE\0\1"
#define NAUTILUS_STATE_HEADER_LEN 16
#define NAUTILUS_STATE_NONCE_LEN 12
#define NAUTILUS_STATE_TAG_LEN 16
#define NAUTILUS_STATE_OVERHEAD (NAUTILUS_STATE_HEADER_LEN + NAUTILUS_STATE_NONCE_LEN + NAUTILUS_STATE_TAG_LEN)

/*
 * [in]  memref[0]  plaintext
 * [out] memref[1]  sealed: NAUTILUS_STATE_OVERHEAD more bytes
 */
#define NAUTILUS_STATE_SEAL 0

/*
 * [in]  memref[0]  sealed
 * [out] memref[1]  plaintext
 *
 * TEE_ERROR_BAD_FORMAT      these are not bytes of ours
 * TEE_ERROR_MAC_INVALID     they were sealed by another key, or changed
 * TEE_ERROR_ITEM_NOT_FOUND  there is no key yet: nothing was sealed here
 */
#define NAUTILUS_STATE_UNSEAL 1

/*
 * [out] value[0]  a the counter's lower 32 bits, b its upper; 0 before the first ADVANCE
 */
#define NAUTILUS_STATE_COUNTER_READ 2

/* As COUNTER_READ, after adding one. The new value is stored before it is given. */
#define NAUTILUS_STATE_COUNTER_ADVANCE 3

/*
 * [out] value[0]  a NAUTILUS_STATE_VERSION, b 1 if key and counter are kept on RPMB by this build's choice, else 0
 */
#define NAUTILUS_STATE_DESCRIBE 4

#endif /* NAUTILUS_STATE_H */
