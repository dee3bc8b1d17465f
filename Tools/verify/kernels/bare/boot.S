// Starts `run` in 64-bit mode on a machine without an operating system, with all vector registers that the processor
// has. The first sector is loaded by the BIOS; it loads the rest to 1 MiB, 64 sectors at a time through a buffer that the
// BIOS can reach. Interrupts stay off.
#define BUFFER 0x10000
#define PROGRAM 0x100000
#define STACK 0x1000000
// Page tables: one of each level, as pages of 2 MiB map the first GiB.
#define LEVEL_4 0x1000
#define LEVEL_3 0x2000
#define LEVEL_2 0x3000

    .section .boot, "ax"
    .code16
    .globl start
start:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $start, %sp
    movb %dl, drive
    // The address line 20.
    inb $0x92, %al
    orb $2, %al
    outb %al, $0x92
    // Segments of 4 GiB, which stay that large back in real mode.
    lgdt descriptors
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    jmp 1f
1:  movw $16, %bx
    movw %bx, %ds
    movw %bx, %es
    andb $0xFE, %al
    movl %eax, %cr0
    jmp 2f
2:  xorw %cx, %cx
    movw %cx, %ds
    movw %cx, %es
    movl $PROGRAM, %edi
read:
    movw $packet, %si
    movb $0x42, %ah
    movb drive, %dl
    int $0x13
    jc failed
    movl $BUFFER, %esi
    movl $64 * 512 / 4, %ecx
3:  movl (%esi), %eax
    movl %eax, %es:(%edi)
    addl $4, %esi
    addl $4, %edi
    subl $1, %ecx
    jnz 3b
    addl $64, first_sector
    subw $1, reads
    jnz read
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $8, $protected
failed:
    hlt
    jmp failed

drive:
    .byte 0
reads:
    .word program_reads
    .balign 4
packet:
    .byte 16, 0
    .word 64
    .word 0, BUFFER >> 4
first_sector:
    .quad 1
    .balign 8
segments:
    .quad 0
    .quad 0x00CF9A000000FFFF  // 8: code of 32 bits
    .quad 0x00CF92000000FFFF  // 16: data
    .quad 0x00AF9A000000FFFF  // 24: code of 64 bits
descriptors:
    .word descriptors - segments - 1
    .long segments
    .org 510
    .word 0xAA55

    .text
    .code32
protected:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $LEVEL_4, %edi
    xorl %eax, %eax
    movl $3 * 1024, %ecx
    rep stosl
    movl $LEVEL_3 + 3, LEVEL_4
    movl $LEVEL_2 + 3, LEVEL_3
    movl $LEVEL_2, %edi
    movl $0x83, %eax
    movl $512, %ecx
4:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 4b
    movl $LEVEL_4, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x40620, %eax  // addresses of 64 bits, SSE and its exceptions, XSAVE
    movl %eax, %cr4
    movl $0xC0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    andl $0xFFFFFFF3, %eax
    orl $0x80000002, %eax
    movl %eax, %cr0
    ljmpl $24, $wide

    .code64
wide:
    movl $16, %eax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    // x87, SSE, AVX and AVX-512 registers, as far as there are any.
    movl $13, %eax
    xorl %ecx, %ecx
    cpuid
    andl $0xE7, %eax
    xorl %edx, %edx
    xorl %ecx, %ecx
    xsetbv
    movl $zeroed_start, %edi
    movl $zeroed_end, %ecx
    subl %edi, %ecx
    xorl %eax, %eax
    rep stosb
    movl $STACK, %esp
    call run
