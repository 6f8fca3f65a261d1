/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nautilus-eapp: an enclave application for Keystone's runtime Eyrie. It asks its host for report data, has the
 * security monitor sign it, hands out the report, and ends. The host's side is crates/tee/src/keystone/attest.rs, which
 * has the same numbers.
 *
 * It holds no secret and trusts nothing that the host gives: the report says which enclave ran on which security
 * monitor, and that the host gave it this data. Keystone's sealing key (system call 1004) is not asked for: outside of
 * the enclave it would be the host's.
 *
 * No C library: README.md has the command that builds it.
 */

/* sdk/include/shared/eyrie_call.h of Keystone. */
#define SYSCALL_OCALL 1001
#define SYSCALL_ATTEST 1003
#define SYSCALL_EXIT 1101

/* What the host is asked for. */
#define CALL_REPORT_DATA 1
#define CALL_REPORT 2

#define REPORT_DATA_LEN 64
/* struct report has 1352 bytes; Eyrie writes 2048, whatever there is. */
#define REPORT_LEN 1352
#define REPORT_BUFFER_LEN 2048

/* How it ends; the host has words for these. */
enum ending { MADE_REPORT = 0, NO_REPORT_DATA = 1, NOT_ATTESTED = 2, NOT_HANDED_OUT = 3 };

static unsigned char report_data[REPORT_DATA_LEN];
static unsigned char report[REPORT_BUFFER_LEN];

static long syscall(long number, long a, const void *b, long c, void *d, long e)
{
	register long a0 __asm__("a0") = a;
	register long a1 __asm__("a1") = (long)b;
	register long a2 __asm__("a2") = c;
	register long a3 __asm__("a3") = (long)d;
	register long a4 __asm__("a4") = e;
	register long a7 __asm__("a7") = number;

	__asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a7) : "memory");
	return a0;
}

static enum ending attest(void)
{
	if (syscall(SYSCALL_OCALL, CALL_REPORT_DATA, 0, 0, report_data, REPORT_DATA_LEN))
		return NO_REPORT_DATA;
	if (syscall(SYSCALL_ATTEST, (long)report, report_data, REPORT_DATA_LEN, 0, 0))
		return NOT_ATTESTED;
	if (syscall(SYSCALL_OCALL, CALL_REPORT, report, REPORT_LEN, 0, 0))
		return NOT_HANDED_OUT;
	return MADE_REPORT;
}

/* Eyrie starts an application here, with a stack. */
__attribute__((noreturn)) void _start(void)
{
	/* Eyrie copies to and from pages that are there: these are in .bss, touched before a pointer to them is given. */
	for (int index = 0; index < REPORT_BUFFER_LEN; index++)
		*(volatile unsigned char *)&report[index] = 0;
	for (int index = 0; index < REPORT_DATA_LEN; index++)
		*(volatile unsigned char *)&report_data[index] = 0;
	syscall(SYSCALL_EXIT, attest(), 0, 0, 0, 0);
	for (;;)
		;
}
