/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of GlobalPlatform's TEE Internal Core API 1.3.1 as nautilus-state uses, for a program of the host. Constants
 * are OP-TEE's. What the functions do is in shim.c.
 */
#ifndef TEE_INTERNAL_API_H
#define TEE_INTERNAL_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t TEE_Result;
typedef struct shim_object *TEE_ObjectHandle;
typedef struct shim_operation *TEE_OperationHandle;

#define TEE_HANDLE_NULL NULL
#define TEE_NUM_PARAMS 4

#define TEE_SUCCESS 0x00000000
#define TEE_ERROR_CORRUPT_OBJECT 0xF0100001
#define TEE_ERROR_GENERIC 0xFFFF0000
#define TEE_ERROR_EXCESS_DATA 0xFFFF0004
#define TEE_ERROR_BAD_FORMAT 0xFFFF0005
#define TEE_ERROR_BAD_PARAMETERS 0xFFFF0006
#define TEE_ERROR_ITEM_NOT_FOUND 0xFFFF0008
#define TEE_ERROR_NOT_SUPPORTED 0xFFFF000A
#define TEE_ERROR_OUT_OF_MEMORY 0xFFFF000C
#define TEE_ERROR_SHORT_BUFFER 0xFFFF0010
#define TEE_ERROR_OVERFLOW 0xFFFF300F
#define TEE_ERROR_MAC_INVALID 0xFFFF3071

#define TEE_PARAM_TYPE_NONE 0
#define TEE_PARAM_TYPE_VALUE_OUTPUT 2
#define TEE_PARAM_TYPE_MEMREF_INPUT 5
#define TEE_PARAM_TYPE_MEMREF_OUTPUT 6
#define TEE_PARAM_TYPES(t0, t1, t2, t3) ((t0) | ((t1) << 4) | ((t2) << 8) | ((t3) << 12))

#define TEE_STORAGE_PRIVATE 0x00000001
#define TEE_DATA_FLAG_ACCESS_READ 0x00000001
#define TEE_DATA_FLAG_ACCESS_WRITE 0x00000002
#define TEE_TYPE_AES 0xA0000010
#define TEE_ATTR_SECRET_VALUE 0xC0000000
#define TEE_ALG_AES_GCM 0x40000810
#define TEE_MODE_ENCRYPT 0
#define TEE_MODE_DECRYPT 1
#define TEE_MALLOC_FILL_ZERO 0

typedef enum { TEE_DATA_SEEK_SET = 0 } TEE_Whence;

typedef union {
	struct {
		void *buffer;
		size_t size;
	} memref;
	struct {
		uint32_t a;
		uint32_t b;
	} value;
} TEE_Param;

typedef struct {
	uint32_t attributeID;
	const void *buffer;
	size_t length;
} TEE_Attribute;

void *TEE_Malloc(size_t size, uint32_t hint);
void TEE_Free(void *buffer);
void *TEE_MemMove(void *to, const void *from, size_t size);
int32_t TEE_MemCompare(const void *one, const void *other, size_t size);
void TEE_MemFill(void *buffer, uint32_t byte, size_t size);
void TEE_GenerateRandom(void *buffer, size_t size);

TEE_Result TEE_OpenPersistentObject(uint32_t storage, const void *id, size_t id_len, uint32_t flags,
				    TEE_ObjectHandle *object);
TEE_Result TEE_CreatePersistentObject(uint32_t storage, const void *id, size_t id_len, uint32_t flags,
				      TEE_ObjectHandle attributes, const void *data, size_t data_len,
				      TEE_ObjectHandle *object);
TEE_Result TEE_ReadObjectData(TEE_ObjectHandle object, void *buffer, size_t size, size_t *count);
TEE_Result TEE_WriteObjectData(TEE_ObjectHandle object, const void *buffer, size_t size);
TEE_Result TEE_SeekObjectData(TEE_ObjectHandle object, intmax_t offset, TEE_Whence whence);
void TEE_CloseObject(TEE_ObjectHandle object);

TEE_Result TEE_AllocateTransientObject(uint32_t type, uint32_t bits, TEE_ObjectHandle *object);
void TEE_InitRefAttribute(TEE_Attribute *attribute, uint32_t id, const void *buffer, size_t length);
TEE_Result TEE_PopulateTransientObject(TEE_ObjectHandle object, const TEE_Attribute *attributes, uint32_t count);
void TEE_FreeTransientObject(TEE_ObjectHandle object);

TEE_Result TEE_AllocateOperation(TEE_OperationHandle *operation, uint32_t algorithm, uint32_t mode, uint32_t bits);
TEE_Result TEE_SetOperationKey(TEE_OperationHandle operation, TEE_ObjectHandle key);
TEE_Result TEE_AEInit(TEE_OperationHandle operation, const void *nonce, size_t nonce_len, uint32_t tag_bits,
		      size_t aad_len, size_t payload_len);
void TEE_AEUpdateAAD(TEE_OperationHandle operation, const void *aad, size_t aad_len);
TEE_Result TEE_AEEncryptFinal(TEE_OperationHandle operation, const void *source, size_t source_len, void *to,
			      size_t *to_len, void *tag, size_t *tag_len);
TEE_Result TEE_AEDecryptFinal(TEE_OperationHandle operation, const void *source, size_t source_len, void *to,
			      size_t *to_len, void *tag, size_t tag_len);
void TEE_FreeOperation(TEE_OperationHandle operation);

TEE_Result TA_CreateEntryPoint(void);
void TA_DestroyEntryPoint(void);
TEE_Result TA_OpenSessionEntryPoint(uint32_t param_types, TEE_Param params[TEE_NUM_PARAMS], void **session);
void TA_CloseSessionEntryPoint(void *session);
TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t command, uint32_t param_types,
				      TEE_Param params[TEE_NUM_PARAMS]);

#endif /* TEE_INTERNAL_API_H */
