/* Makes a program believe that its processor has AVX2 and nothing newer: LD_PRELOAD=older.so program.

ONNX Runtime has no setting for it, and its speed on such processors is asked for. The kernel lets `cpuid` fault (x86-64
Linux, arch_prctl ARCH_SET_CPUID); each fault is answered with what the processor says, but for the newer bits. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static void faults(long on) { syscall(SYS_arch_prctl, ARCH_SET_CPUID, on ? 0L : 1L); }

static void answer(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *at = (const unsigned char *)registers[REG_RIP];
    unsigned leaf = registers[REG_RAX], sub = registers[REG_RCX], a, b, c, d;
    (void)info;
    if (at[0] != 0x0f || at[1] != 0xa2) {
        /* A fault of another kind: as if nobody had looked. */
        signal(number, SIG_DFL);
        return;
    }
    faults(0);
    __cpuid_count(leaf, sub, a, b, c, d);
    faults(1);
    if (leaf == 7 && sub == 0) {
        /* AVX-512 F, DQ, IFMA, PF, ER, CD, BW, VL */
        b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31);
        /* VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ */
        c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);
        /* VP2INTERSECT, AMX-BF16, FP16, AMX-TILE, AMX-INT8 */
        d &= ~(1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);
    }
    if (leaf == 7 && sub == 1) {
        /* AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA; AVX-VNNI-INT8, AVX-NE-CONVERT, AVX-VNNI-INT16, AVX10 */
        a &= ~(1u << 4 | 1u << 5 | 1u << 21 | 1u << 23);
        d &= ~(1u << 4 | 1u << 5 | 1u << 10 | 1u << 19);
    }
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
    struct sigaction action = {0};
    action.sa_sigaction = answer;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    if (sigaction(SIGSEGV, &action, NULL) || syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0L)) {
        static const char words[] = "older.so: this kernel or processor cannot hide instructions\n";
        (void)!write(STDERR_FILENO, words, sizeof words - 1);
        _exit(3);
    }
}
