/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a trusted application as a program of the host. Commands come on standard input, results go to standard output;
 * in between, the one who gave the command answers for storage, randomness and cryptography (trusted_application.rs).
 * Numbers have 32 bits in the machine's order; bytes have their length before them. What OP-TEE would answer with a
 * panic ends the program.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tee_internal_api.h>
#include <tee_internal_api_extensions.h>

#define KEY_LEN 32
#define MAX_BYTES (1024 * 1024)

enum { ASK_OPEN = 1, ASK_CREATE, ASK_WRITE, ASK_RANDOM, ASK_ENCRYPT, ASK_DECRYPT, RESULT };

struct shim_object {
	uint32_t storage;
	uint8_t id[64];
	uint32_t id_len;
	uint8_t *data;
	uint32_t data_len;
	uint32_t position;
	uint8_t key[KEY_LEN];
	bool has_key;
};

struct shim_operation {
	uint32_t mode;
	uint8_t key[KEY_LEN];
	bool has_key;
	uint8_t nonce[12];
	uint8_t aad[64];
	uint32_t aad_len;
	bool initialized;
};

static void must(bool holds)
{
	if (!holds)
		_exit(70);
}

static void put(const void *bytes, size_t length)
{
	const char *from = bytes;

	while (length) {
		ssize_t written = write(STDOUT_FILENO, from, length);

		must(written > 0);
		from += written;
		length -= (size_t)written;
	}
}

static void put_number(uint32_t number)
{
	put(&number, sizeof(number));
}

static void put_bytes(const void *bytes, uint32_t length)
{
	put_number(length);
	put(bytes, length);
}

static void take(void *bytes, size_t length)
{
	char *to = bytes;

	while (length) {
		ssize_t got = read(STDIN_FILENO, to, length);

		if (got == 0)
			_exit(0);
		must(got > 0);
		to += got;
		length -= (size_t)got;
	}
}

static uint32_t take_number(void)
{
	uint32_t number = 0;

	take(&number, sizeof(number));
	return number;
}

static uint8_t *take_bytes(uint32_t *length)
{
	uint8_t *bytes = NULL;

	*length = take_number();
	must(*length <= MAX_BYTES);
	bytes = malloc(*length + 1);
	must(bytes != NULL);
	take(bytes, *length);
	return bytes;
}

void *TEE_Malloc(size_t size, uint32_t hint)
{
	must(hint == TEE_MALLOC_FILL_ZERO);
	return calloc(1, size);
}

void TEE_Free(void *buffer)
{
	free(buffer);
}

void *TEE_MemMove(void *to, const void *from, size_t size)
{
	return size ? memmove(to, from, size) : to;
}

int32_t TEE_MemCompare(const void *one, const void *other, size_t size)
{
	return memcmp(one, other, size);
}

void TEE_MemFill(void *buffer, uint32_t byte, size_t size)
{
	memset(buffer, (int)byte, size);
}

void TEE_GenerateRandom(void *buffer, size_t size)
{
	put_number(ASK_RANDOM);
	put_number((uint32_t)size);
	take(buffer, size);
}

static struct shim_object *object_of(uint32_t storage, const void *id, size_t id_len)
{
	struct shim_object *object = calloc(1, sizeof(*object));

	must(object && id_len <= sizeof(object->id));
	object->storage = storage;
	object->id_len = (uint32_t)id_len;
	memcpy(object->id, id, id_len);
	return object;
}

static void put_name(const struct shim_object *object)
{
	put_number(object->storage);
	put_bytes(object->id, object->id_len);
}

TEE_Result TEE_OpenPersistentObject(uint32_t storage, const void *id, size_t id_len, uint32_t flags,
				    TEE_ObjectHandle *object)
{
	struct shim_object *opened = object_of(storage, id, id_len);
	TEE_Result res = TEE_SUCCESS;

	must(flags == (TEE_DATA_FLAG_ACCESS_READ | TEE_DATA_FLAG_ACCESS_WRITE));
	put_number(ASK_OPEN);
	put_name(opened);
	res = take_number();
	opened->data = take_bytes(&opened->data_len);
	if (res != TEE_SUCCESS) {
		TEE_CloseObject(opened);
		opened = NULL;
	}
	*object = opened;
	return res;
}

TEE_Result TEE_CreatePersistentObject(uint32_t storage, const void *id, size_t id_len, uint32_t flags,
				      TEE_ObjectHandle attributes, const void *data, size_t data_len,
				      TEE_ObjectHandle *object)
{
	struct shim_object *created = object_of(storage, id, id_len);
	TEE_Result res = TEE_SUCCESS;

	must(flags == (TEE_DATA_FLAG_ACCESS_READ | TEE_DATA_FLAG_ACCESS_WRITE) && attributes == TEE_HANDLE_NULL);
	put_number(ASK_CREATE);
	put_name(created);
	put_bytes(data, (uint32_t)data_len);
	res = take_number();
	created->data = malloc(data_len + 1);
	must(created->data != NULL);
	memcpy(created->data, data, data_len);
	created->data_len = (uint32_t)data_len;
	if (res != TEE_SUCCESS) {
		TEE_CloseObject(created);
		created = NULL;
	}
	*object = created;
	return res;
}

TEE_Result TEE_ReadObjectData(TEE_ObjectHandle object, void *buffer, size_t size, size_t *count)
{
	size_t left = object->data_len - object->position;

	*count = size < left ? size : left;
	memcpy(buffer, object->data + object->position, *count);
	object->position += (uint32_t)*count;
	return TEE_SUCCESS;
}

TEE_Result TEE_SeekObjectData(TEE_ObjectHandle object, intmax_t offset, TEE_Whence whence)
{
	must(whence == TEE_DATA_SEEK_SET && offset >= 0 && offset <= (intmax_t)object->data_len);
	object->position = (uint32_t)offset;
	return TEE_SUCCESS;
}

TEE_Result TEE_WriteObjectData(TEE_ObjectHandle object, const void *buffer, size_t size)
{
	put_number(ASK_WRITE);
	put_name(object);
	put_number(object->position);
	put_bytes(buffer, (uint32_t)size);
	object->position += (uint32_t)size;
	return take_number();
}

void TEE_CloseObject(TEE_ObjectHandle object)
{
	free(object->data);
	free(object);
}

TEE_Result TEE_AllocateTransientObject(uint32_t type, uint32_t bits, TEE_ObjectHandle *object)
{
	must(type == TEE_TYPE_AES && bits == KEY_LEN * 8);
	*object = calloc(1, sizeof(**object));
	must(*object != NULL);
	return TEE_SUCCESS;
}

void TEE_InitRefAttribute(TEE_Attribute *attribute, uint32_t id, const void *buffer, size_t length)
{
	attribute->attributeID = id;
	attribute->buffer = buffer;
	attribute->length = length;
}

TEE_Result TEE_PopulateTransientObject(TEE_ObjectHandle object, const TEE_Attribute *attributes, uint32_t count)
{
	must(!object->has_key && count == 1 && attributes->attributeID == TEE_ATTR_SECRET_VALUE &&
	     attributes->length == KEY_LEN);
	memcpy(object->key, attributes->buffer, KEY_LEN);
	object->has_key = true;
	return TEE_SUCCESS;
}

void TEE_FreeTransientObject(TEE_ObjectHandle object)
{
	free(object);
}

TEE_Result TEE_AllocateOperation(TEE_OperationHandle *operation, uint32_t algorithm, uint32_t mode, uint32_t bits)
{
	must(algorithm == TEE_ALG_AES_GCM && mode <= TEE_MODE_DECRYPT && bits == KEY_LEN * 8);
	*operation = calloc(1, sizeof(**operation));
	must(*operation != NULL);
	(*operation)->mode = mode;
	return TEE_SUCCESS;
}

TEE_Result TEE_SetOperationKey(TEE_OperationHandle operation, TEE_ObjectHandle key)
{
	must(key->has_key);
	memcpy(operation->key, key->key, KEY_LEN);
	operation->has_key = true;
	return TEE_SUCCESS;
}

TEE_Result TEE_AEInit(TEE_OperationHandle operation, const void *nonce, size_t nonce_len, uint32_t tag_bits,
		      size_t aad_len, size_t payload_len)
{
	must(operation->has_key && !operation->initialized && nonce_len == sizeof(operation->nonce) &&
	     tag_bits == 128 && aad_len <= sizeof(operation->aad) && payload_len <= MAX_BYTES);
	memcpy(operation->nonce, nonce, nonce_len);
	operation->initialized = true;
	return TEE_SUCCESS;
}

void TEE_AEUpdateAAD(TEE_OperationHandle operation, const void *aad, size_t aad_len)
{
	must(operation->initialized && aad_len <= sizeof(operation->aad) - operation->aad_len);
	memcpy(operation->aad + operation->aad_len, aad, aad_len);
	operation->aad_len += (uint32_t)aad_len;
}

static void put_operation(uint32_t ask, const struct shim_operation *operation, const void *source, size_t length)
{
	must(operation->initialized);
	put_number(ask);
	put_bytes(operation->key, KEY_LEN);
	put_bytes(operation->nonce, sizeof(operation->nonce));
	put_bytes(operation->aad, operation->aad_len);
	put_bytes(source, (uint32_t)length);
}

TEE_Result TEE_AEEncryptFinal(TEE_OperationHandle operation, const void *source, size_t source_len, void *to,
			      size_t *to_len, void *tag, size_t *tag_len)
{
	must(operation->mode == TEE_MODE_ENCRYPT && *to_len >= source_len && *tag_len >= 16);
	put_operation(ASK_ENCRYPT, operation, source, source_len);
	take(to, source_len);
	take(tag, 16);
	*to_len = source_len;
	*tag_len = 16;
	return TEE_SUCCESS;
}

TEE_Result TEE_AEDecryptFinal(TEE_OperationHandle operation, const void *source, size_t source_len, void *to,
			      size_t *to_len, void *tag, size_t tag_len)
{
	TEE_Result res = TEE_SUCCESS;

	must(operation->mode == TEE_MODE_DECRYPT && *to_len >= source_len && tag_len == 16);
	put_operation(ASK_DECRYPT, operation, source, source_len);
	put(tag, 16);
	res = take_number();
	if (res == TEE_SUCCESS) {
		take(to, source_len);
		*to_len = source_len;
	}
	return res;
}

void TEE_FreeOperation(TEE_OperationHandle operation)
{
	free(operation);
}

int main(void)
{
	void *session = NULL;
	TEE_Param none[TEE_NUM_PARAMS] = { 0 };

	must(TA_CreateEntryPoint() == TEE_SUCCESS && TA_OpenSessionEntryPoint(0, none, &session) == TEE_SUCCESS);
	for (;;) {
		uint32_t command = take_number();
		uint32_t types = take_number();
		TEE_Param params[TEE_NUM_PARAMS] = { 0 };
		uint32_t capacities[TEE_NUM_PARAMS] = { 0 };

		for (unsigned int index = 0; index < TEE_NUM_PARAMS; index++) {
			uint32_t type = types >> (4 * index) & 0xf;

			/* Exactly as large as said, so that a tool that checks memory sees what is written past it. */
			if (type == TEE_PARAM_TYPE_MEMREF_INPUT) {
				params[index].memref.buffer = take_bytes(&capacities[index]);
			} else if (type == TEE_PARAM_TYPE_MEMREF_OUTPUT) {
				capacities[index] = take_number();
				must(capacities[index] <= MAX_BYTES);
				params[index].memref.buffer = calloc(1, capacities[index]);
			}
			if (type >= TEE_PARAM_TYPE_MEMREF_INPUT)
				params[index].memref.size = capacities[index];
		}
		TEE_Result res = TA_InvokeCommandEntryPoint(session, command, types, params);

		put_number(RESULT);
		put_number(res);
		for (unsigned int index = 0; index < TEE_NUM_PARAMS; index++) {
			uint32_t type = types >> (4 * index) & 0xf;

			if (type == TEE_PARAM_TYPE_VALUE_OUTPUT) {
				put_number(params[index].value.a);
				put_number(params[index].value.b);
			} else if (type == TEE_PARAM_TYPE_MEMREF_OUTPUT) {
				put_number((uint32_t)params[index].memref.size);
				put_bytes(params[index].memref.buffer, capacities[index]);
			}
			if (type >= TEE_PARAM_TYPE_MEMREF_INPUT)
				free(params[index].memref.buffer);
		}
	}
}
