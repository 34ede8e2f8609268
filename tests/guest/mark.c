// SPDX-License-Identifier: GPL-2.0
/* mark 1, mark 2: execute the markers of bench/count.c. */
int main(int argc, char **argv)
{
	if (argc == 2 && *argv[1] == '1')
		asm volatile("ori 0,0,0x5a01");
	else
		asm volatile("ori 0,0,0x5a02");
	return 0;
}
