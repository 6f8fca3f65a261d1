/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nautilus-state: seals a node's state under a key that stays in OP-TEE's secure storage, and counts.
 *
 * Key and counter are one object, so that neither can be taken back without the other: who empties the storage to
 * reset the counter loses the key, and state sealed before opens no more.
 *
 * Any program of the normal world that may open the TEE's device can call this: it binds state to the device, not to
 * a program. GlobalPlatform TEE Internal Core API 1.3.1, OP-TEE 3.20 or later.
 */
#include <tee_internal_api.h>
#include <tee_internal_api_extensions.h>

#include "nautilus_state.h"

/* Makefile: NAUTILUS_RPMB=y. */
#ifdef NAUTILUS_STATE_ON_RPMB
#define STORAGE TEE_STORAGE_PRIVATE_RPMB
#define ON_RPMB 1
#else
#define STORAGE TEE_STORAGE_PRIVATE
#define ON_RPMB 0
#endif

#define KEY_LEN 32
#define KEY_BITS (KEY_LEN * 8)
#define TAG_BITS (NAUTILUS_STATE_TAG_LEN * 8)

/* As it is stored: counter, lowest byte first, then the key. */
#define COUNTER_LEN 8
#define RECORD_LEN (COUNTER_LEN + KEY_LEN)

#define FLAGS (TEE_DATA_FLAG_ACCESS_READ | TEE_DATA_FLAG_ACCESS_WRITE)

static const char object_id[] = "state";

struct record {
	TEE_ObjectHandle object;
	uint8_t bytes[RECORD_LEN];
};

static void close_record(struct record *record)
{
	TEE_MemFill(record->bytes, 0, sizeof(record->bytes));
	if (record->object != TEE_HANDLE_NULL)
		TEE_CloseObject(record->object);
	record->object = TEE_HANDLE_NULL;
}

static TEE_Result open_record(struct record *record)
{
	size_t count = 0;
	TEE_Result res = TEE_OpenPersistentObject(STORAGE, object_id, sizeof(object_id) - 1, FLAGS, &record->object);

	if (res != TEE_SUCCESS)
		return res;
	res = TEE_ReadObjectData(record->object, record->bytes, RECORD_LEN, &count);
	if (res == TEE_SUCCESS && count != RECORD_LEN)
		res = TEE_ERROR_CORRUPT_OBJECT;
	if (res != TEE_SUCCESS)
		close_record(record);
	return res;
}

/* Opens the record, and makes one with a new key where there is none. */
static TEE_Result open_or_make_record(struct record *record)
{
	TEE_Result res = open_record(record);

	if (res != TEE_ERROR_ITEM_NOT_FOUND)
		return res;
	TEE_MemFill(record->bytes, 0, COUNTER_LEN);
	TEE_GenerateRandom(record->bytes + COUNTER_LEN, KEY_LEN);
	/* Without TEE_DATA_FLAG_OVERWRITE: an object that came in between is never replaced. */
	res = TEE_CreatePersistentObject(STORAGE, object_id, sizeof(object_id) - 1, FLAGS, TEE_HANDLE_NULL,
					 record->bytes, RECORD_LEN, &record->object);
	if (res != TEE_SUCCESS)
		close_record(record);
	return res;
}

static uint64_t counter_of(const struct record *record)
{
	uint64_t counter = 0;

	for (int index = COUNTER_LEN - 1; index >= 0; index--)
		counter = counter << 8 | record->bytes[index];
	return counter;
}

/* An operation of the record's key, which is the caller's to free. */
static TEE_Result make_operation(const struct record *record, uint32_t mode, TEE_OperationHandle *operation)
{
	TEE_ObjectHandle key = TEE_HANDLE_NULL;
	TEE_Attribute secret = { 0 };
	TEE_Result res = TEE_AllocateTransientObject(TEE_TYPE_AES, KEY_BITS, &key);

	if (res != TEE_SUCCESS)
		return res;
	TEE_InitRefAttribute(&secret, TEE_ATTR_SECRET_VALUE, record->bytes + COUNTER_LEN, KEY_LEN);
	res = TEE_PopulateTransientObject(key, &secret, 1);
	if (res == TEE_SUCCESS)
		res = TEE_AllocateOperation(operation, TEE_ALG_AES_GCM, mode, KEY_BITS);
	if (res == TEE_SUCCESS) {
		res = TEE_SetOperationKey(*operation, key);
		if (res != TEE_SUCCESS) {
			TEE_FreeOperation(*operation);
			*operation = TEE_HANDLE_NULL;
		}
	}
	TEE_FreeTransientObject(key);
	return res;
}

/* A copy that the normal world cannot change under our eyes. */
static TEE_Result copy_of(const void *bytes, size_t length, uint8_t **copy)
{
	/* One more, for no bytes at all. */
	*copy = TEE_Malloc(length + 1, TEE_MALLOC_FILL_ZERO);
	if (!*copy)
		return TEE_ERROR_OUT_OF_MEMORY;
	TEE_MemMove(*copy, bytes, length);
	return TEE_SUCCESS;
}

static void wipe_and_free(uint8_t *bytes, size_t length)
{
	if (bytes)
		TEE_MemFill(bytes, 0, length);
	TEE_Free(bytes);
}

static TEE_Result seal(const struct record *record, const uint8_t *plaintext, size_t length, uint8_t *sealed)
{
	TEE_OperationHandle operation = TEE_HANDLE_NULL;
	uint8_t *nonce = sealed + NAUTILUS_STATE_HEADER_LEN;
	uint8_t *body = nonce + NAUTILUS_STATE_NONCE_LEN;
	size_t body_len = length;
	size_t tag_len = NAUTILUS_STATE_TAG_LEN;
	TEE_Result res = make_operation(record, TEE_MODE_ENCRYPT, &operation);

	if (res != TEE_SUCCESS)
		return res;
	TEE_MemMove(sealed, NAUTILUS_STATE_HEADER, NAUTILUS_STATE_HEADER_LEN);
	/* Random nonces of 96 bits are good for 2^32 messages (NIST SP 800-38D, section 8.3). */
	TEE_GenerateRandom(nonce, NAUTILUS_STATE_NONCE_LEN);
	res = TEE_AEInit(operation, nonce, NAUTILUS_STATE_NONCE_LEN, TAG_BITS, NAUTILUS_STATE_HEADER_LEN, length);
	if (res == TEE_SUCCESS) {
		TEE_AEUpdateAAD(operation, sealed, NAUTILUS_STATE_HEADER_LEN);
		res = TEE_AEEncryptFinal(operation, plaintext, length, body, &body_len, body + length, &tag_len);
	}
	if (res == TEE_SUCCESS && (body_len != length || tag_len != NAUTILUS_STATE_TAG_LEN))
		res = TEE_ERROR_GENERIC;
	TEE_FreeOperation(operation);
	return res;
}

static TEE_Result unseal(const struct record *record, uint8_t *sealed, size_t length, uint8_t *plaintext)
{
	TEE_OperationHandle operation = TEE_HANDLE_NULL;
	uint8_t *nonce = sealed + NAUTILUS_STATE_HEADER_LEN;
	uint8_t *body = nonce + NAUTILUS_STATE_NONCE_LEN;
	size_t plain_len = length;
	TEE_Result res = make_operation(record, TEE_MODE_DECRYPT, &operation);

	if (res != TEE_SUCCESS)
		return res;
	res = TEE_AEInit(operation, nonce, NAUTILUS_STATE_NONCE_LEN, TAG_BITS, NAUTILUS_STATE_HEADER_LEN, length);
	if (res == TEE_SUCCESS) {
		TEE_AEUpdateAAD(operation, sealed, NAUTILUS_STATE_HEADER_LEN);
		res = TEE_AEDecryptFinal(operation, body, length, plaintext, &plain_len, body + length,
					 NAUTILUS_STATE_TAG_LEN);
	}
	if (res == TEE_SUCCESS && plain_len != length)
		res = TEE_ERROR_GENERIC;
	TEE_FreeOperation(operation);
	return res;
}

static TEE_Result command_seal(TEE_Param params[TEE_NUM_PARAMS])
{
	struct record record = { .object = TEE_HANDLE_NULL };
	size_t length = params[0].memref.size;
	size_t sealed_len = 0;
	uint8_t *plaintext = NULL;
	uint8_t *sealed = NULL;
	TEE_Result res = TEE_SUCCESS;

	if (length > NAUTILUS_STATE_MAX)
		return TEE_ERROR_EXCESS_DATA;
	sealed_len = length + NAUTILUS_STATE_OVERHEAD;
	if (params[1].memref.size < sealed_len) {
		params[1].memref.size = sealed_len;
		return TEE_ERROR_SHORT_BUFFER;
	}
	res = copy_of(params[0].memref.buffer, length, &plaintext);
	if (res != TEE_SUCCESS)
		return res;
	sealed = TEE_Malloc(sealed_len, TEE_MALLOC_FILL_ZERO);
	if (sealed)
		res = open_or_make_record(&record);
	else
		res = TEE_ERROR_OUT_OF_MEMORY;
	if (res == TEE_SUCCESS) {
		res = seal(&record, plaintext, length, sealed);
		close_record(&record);
	}
	if (res == TEE_SUCCESS) {
		TEE_MemMove(params[1].memref.buffer, sealed, sealed_len);
		params[1].memref.size = sealed_len;
	}
	TEE_Free(sealed);
	wipe_and_free(plaintext, length);
	return res;
}

static TEE_Result command_unseal(TEE_Param params[TEE_NUM_PARAMS])
{
	struct record record = { .object = TEE_HANDLE_NULL };
	size_t sealed_len = params[0].memref.size;
	size_t length = 0;
	uint8_t *sealed = NULL;
	uint8_t *plaintext = NULL;
	TEE_Result res = TEE_SUCCESS;

	if (sealed_len < NAUTILUS_STATE_OVERHEAD || sealed_len > NAUTILUS_STATE_MAX + NAUTILUS_STATE_OVERHEAD)
		return TEE_ERROR_BAD_FORMAT;
	length = sealed_len - NAUTILUS_STATE_OVERHEAD;
	if (params[1].memref.size < length) {
		params[1].memref.size = length;
		return TEE_ERROR_SHORT_BUFFER;
	}
	res = copy_of(params[0].memref.buffer, sealed_len, &sealed);
	if (res != TEE_SUCCESS)
		return res;
	plaintext = TEE_Malloc(length + 1, TEE_MALLOC_FILL_ZERO);
	if (!plaintext)
		res = TEE_ERROR_OUT_OF_MEMORY;
	else if (TEE_MemCompare(sealed, NAUTILUS_STATE_HEADER, NAUTILUS_STATE_HEADER_LEN))
		res = TEE_ERROR_BAD_FORMAT;
	else
		res = open_record(&record);
	if (res == TEE_SUCCESS) {
		res = unseal(&record, sealed, length, plaintext);
		close_record(&record);
	}
	if (res == TEE_SUCCESS) {
		TEE_MemMove(params[1].memref.buffer, plaintext, length);
		params[1].memref.size = length;
	}
	wipe_and_free(plaintext, length);
	TEE_Free(sealed);
	return res;
}

static TEE_Result command_counter(TEE_Param params[TEE_NUM_PARAMS], bool advance)
{
	struct record record = { .object = TEE_HANDLE_NULL };
	uint64_t counter = 0;
	TEE_Result res = open_or_make_record(&record);

	if (res != TEE_SUCCESS)
		return res;
	counter = counter_of(&record);
	if (advance) {
		if (counter == UINT64_MAX) {
			close_record(&record);
			return TEE_ERROR_OVERFLOW;
		}
		counter++;
		for (int index = 0; index < COUNTER_LEN; index++)
			record.bytes[index] = (uint8_t)(counter >> (8 * index));
		/* One write: OP-TEE's storage takes it whole or not at all. */
		res = TEE_SeekObjectData(record.object, 0, TEE_DATA_SEEK_SET);
		if (res == TEE_SUCCESS)
			res = TEE_WriteObjectData(record.object, record.bytes, RECORD_LEN);
	}
	close_record(&record);
	if (res == TEE_SUCCESS) {
		params[0].value.a = (uint32_t)counter;
		params[0].value.b = (uint32_t)(counter >> 32);
	}
	return res;
}

TEE_Result TA_CreateEntryPoint(void)
{
	return TEE_SUCCESS;
}

void TA_DestroyEntryPoint(void)
{
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t param_types, TEE_Param params[TEE_NUM_PARAMS], void **session)
{
	(void)params;
	*session = NULL;
	if (param_types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE,
					   TEE_PARAM_TYPE_NONE))
		return TEE_ERROR_BAD_PARAMETERS;
	return TEE_SUCCESS;
}

void TA_CloseSessionEntryPoint(void *session)
{
	(void)session;
}

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t command, uint32_t param_types,
				      TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t bytes_to_bytes = TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
							TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	const uint32_t to_value = TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_OUTPUT, TEE_PARAM_TYPE_NONE,
						  TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	const bool takes_bytes = command == NAUTILUS_STATE_SEAL || command == NAUTILUS_STATE_UNSEAL;

	(void)session;
	if (command > NAUTILUS_STATE_DESCRIBE)
		return TEE_ERROR_NOT_SUPPORTED;
	if (param_types != (takes_bytes ? bytes_to_bytes : to_value))
		return TEE_ERROR_BAD_PARAMETERS;
	switch (command) {
	case NAUTILUS_STATE_SEAL:
		return command_seal(params);
	case NAUTILUS_STATE_UNSEAL:
		return command_unseal(params);
	case NAUTILUS_STATE_COUNTER_READ:
		return command_counter(params, false);
	case NAUTILUS_STATE_COUNTER_ADVANCE:
		return command_counter(params, true);
	default:
		params[0].value.a = NAUTILUS_STATE_VERSION;
		params[0].value.b = ON_RPMB;
		return TEE_SUCCESS;
	}
}
