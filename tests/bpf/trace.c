/* SPDX-License-Identifier: Apache-2.0 */
/* A program whose first instructions leave a trace: a byte, which the test chooses by changing this file, in descriptor 9. No C library, no loader. */
__attribute__((used)) static char mark[] = "BHMARK=x";

__attribute__((naked, noreturn)) void _start(void);
#ifdef __x86_64__
void _start(void) {
        __asm__("mov $1, %eax\n\tmov $9, %edi\n\tlea mark+7(%rip), %rsi\n\tmov $1, %edx\n\tsyscall\n\tmov $60, %eax\n\txor %edi, %edi\n\tsyscall");
}
#else
void _start(void) {
        __asm__("mov x8, #64\n\tmov x0, #9\n\tadrp x1, mark\n\tadd x1, x1, :lo12:mark\n\tadd x1, x1, #7\n\tmov x2, #1\n\tsvc #0\n\tmov x8, #93\n\tmov x0, #0\n\tsvc #0");
}
#endif
