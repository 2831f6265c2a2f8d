/* SPDX-License-Identifier: MIT */
/* The static program, as bytes: BOOT_PROGRAM is its path. */
	.section .rodata
	.global boot_program_bytes
	.global boot_program_size
	.balign 16
boot_program_bytes:
	.incbin BOOT_PROGRAM
boot_program_end:
	.balign 8
boot_program_size:
	.quad boot_program_end - boot_program_bytes
	.section .note.GNU-stack,"",%progbits
