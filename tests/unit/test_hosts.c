/* SPDX-License-Identifier: MIT */
/* What a machine says, as numbers: whole samples and broken ones, devices that count once, rates. */
#include "hosts_answer.c"
#include "tap.h"

static void
is_near(double got, double want, const char *name)
{
	if (!ok(fabs(got - want) < 1e-6 * fabs(want) + 1e-9, "%s", name))
		diag("got %g, want %g", got, want);
}

static unsigned
put(struct hosts_answer *a, const char *text)
{
	return hosts_answer_put(a, text, strlen(text));
}

#define BEGIN "=knee-hosts 1\n"
#define END "=end\n"

static const char whole[] =
    "noise\n" BEGIN "=loadavg 0.50 1.25 12 3/456 789\n=uptime 100.50 200.00\n=sys/kernel/hostname web1\n"
    "=sys/kernel/osrelease 6.1.0-9-amd64\n=stat\ncpu  100 10 50 800 40 0 0 0 7 7\ncpu0 1 2 3 4\n"
    "cpu1 1 2 3 4\nintr 1 2 3\n=meminfo\nMemTotal:  1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\n"
    "SwapTotal: 50 kB\nSwapFree: 20 kB\n=diskstats\n   8 0 sda 1 0 10 0 1 0 20 0 0 0 0\n=net/dev\n"
    "Inter-|   Receive\n face |bytes\n  lo: 5 0 0 0 0 0 0 0 5 0 0 0 0 0 0 0\n"
    "eth0:1000 0 0 0 0 0 0 0 2000 0 0 0 0 0 0 0\n" END;

static void
test_sample(void)
{
	struct hosts_answer a = { 0 };
	struct hosts_figures f = hosts_answer_figures(&a);
	unsigned n = 0;

	is_near(f.load[0], -1, "nothing came: nothing is known");
	/* Byte by byte it is the same. */
	for (size_t i = 0; whole[i] != '\0'; i++)
		n += hosts_answer_put(&a, whole + i, 1);
	is_int(n, 1, "one sample");
	f = hosts_answer_figures(&a);
	is_near(f.load[0], 0.5, "load over a minute");
	is_near(f.load[2], 12, "load over 15");
	is_near(f.cores, 2, "cores");
	is_near(f.memory_bytes, 1000 * 1024, "memory");
	is_near(f.used_bytes, 600 * 1024, "what is not available is used");
	is_near(f.used_frac, 0.6, "a part of it");
	is_near(f.swap_used_bytes, 30 * 1024, "swap");
	is_near(f.uptime_s, 100.5, "uptime");
	is_near(f.cpu_busy_frac, -1, "one sample has no rates");
	is_str(a.last.name, "web1", "name");
	is_str(a.last.kernel, "6.1.0-9-amd64", "kernel");
	is_int(a.last.cpu_ticks, 1000, "guests are in the time of users already");
	is_int(a.last.idle_ticks, 840, "waiting for disks is idle");
	is_int(a.last.disk_written_bytes, 20 * 512, "sectors");
	is_int(a.last.net_received_bytes, 1000, "no blank behind the colon, and no loopback");
	hosts_answer_done(&a);
}

static void
test_rates(void)
{
	struct hosts_answer a = { 0 };
	struct hosts_figures f;

	put(&a,
	    BEGIN "=uptime 10.00 1\n=stat\ncpu  0 0 0 0 0\n=diskstats\n8 0 sda 1 0 0 0 1 0 0 0 0\n=net/dev\n"
		  "e:0 0 0 0 0 0 0 0 900 0\n" END);
	put(&a,
	    BEGIN
	    "=uptime 12.00 1\n=stat\ncpu  25 0 0 75 0\n=diskstats\n8 0 sda 1 0 8 0 1 0 4 0 0\n=net/dev\n"
	    "e:100 0 0 0 0 0 0 0 300 0\n" END);
	f = hosts_answer_figures(&a);
	is_near(f.cpu_busy_frac, 0.25, "busy");
	is_near(f.disk_read_per_s, 8 * 512 / 2, "read, over the seconds that went by there");
	is_near(f.net_received_per_s, 50, "received");
	is_near(f.net_sent_per_s, -1, "a counter that went back says nothing");
	put(&a, BEGIN "=uptime 12.00 1\n=stat\ncpu  25 0 0 75 0\n" END);
	f = hosts_answer_figures(&a);
	is_near(f.cpu_busy_frac, -1, "no time went by");
	is_near(f.disk_read_per_s, -1, "no disks any more");
	hosts_answer_done(&a);
}

static uint64_t
read_bytes(const char *text)
{
	struct hosts_answer a = { 0 };
	uint64_t bytes;

	put(&a, BEGIN);
	put(&a, text);
	put(&a, END);
	bytes = a.last.disk_read_bytes / 512;
	if (!a.last.has_disk)
		bytes = a.last.has_net ? a.last.net_received_bytes : 999;
	hosts_answer_done(&a);
	return bytes;
}

#define DISK(name, sectors) "8 0 " name " 1 0 " sectors " 0 1 0 0 0 0 0\n"
#define NET(name, bytes) name ": " bytes " 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"

static void
test_devices(void)
{
	is_int(read_bytes("=diskstats\n" DISK("sda", "1") DISK("sda1", "2") DISK("sda12", "4")
		       DISK("sdaa", "8") DISK("nvme0n1", "16") DISK("nvme0n1p1", "32") DISK("xvdb1", "64")
			   DISK("dm-0", "128") DISK("loop0", "256") DISK("md127", "512")),
	    1 + 8 + 16 + 64, "whole disks, and partitions without one");
	is_int(read_bytes("=/sys/block/vda/device\n=/sys/block/*/device\n=diskstats\n" DISK("vda", "1")
		       DISK("vda1", "2") DISK("nbd0", "4")),
	    1, "hardware alone, where it is named");
	is_int(read_bytes("=/sys/block/vdz/device\n=diskstats\n" DISK("vda", "1")), 1,
	    "unless none of it is there");
	is_int(read_bytes("=/sys/class/net/eth0/device\n=net/dev\n" NET("lo", "1") NET("eth0", "2")
		       NET("br0", "4") NET("eth0.7", "8")),
	    2, "a bridge over it does not count");
	is_int(read_bytes("=net/dev\n" NET("lo", "1") NET("eth0", "2") NET("veth1", "4")), 6,
	    "in a container all but the loopback");
	is_int(read_bytes("=diskstats\n8 0 sda 1 0\n=net/dev\neth0: 1 2 3\n:\n"), 999, "lines that are cut");
}

static void
test_broken(void)
{
	struct hosts_answer a = { 0 };
	struct hosts_figures f;
	char line[3 * HOSTS_LINE_BYTES];

	is_int(put(&a, END "=stat\ncpu 1 2 3 4\n" END), 0, "no beginning, no sample");
	is_int(put(&a, BEGIN "=stat\ncpu 1 2 3 4\n" BEGIN END), 1, "it begins anew");
	ok(!a.last.has_cpu, "and forgets what came before");
	memset(line, '7', sizeof(line));
	put(&a, BEGIN "=meminfo\nMemTotal: ");
	hosts_answer_put(&a, line, sizeof(line));
	put(&a, "\nMemTotal: 99999999999999999999999 kB\nMemAvailable: 99999999999999999999999 kB\n" END);
	f = hosts_answer_figures(&a);
	ok(f.used_bytes == 0 && f.memory_bytes > 1e18, "numbers end at the largest");
	put(&a, BEGIN "=loadavg nan inf -1\n=uptime -5\n=meminfo\nMemTotal: x\nMemTotal\n" END);
	f = hosts_answer_figures(&a);
	ok(f.load[0] < 0 && f.uptime_s < 0 && f.memory_bytes < 0, "what is no number is not known");
	hosts_answer_put(&a, BEGIN "=loadavg 1 1 1\0\n" END, sizeof(BEGIN "=loadavg 1 1 1\0\n" END) - 1);
	ok(!a.last.has_load, "a line with a NUL is none");
	put(&a,
	    BEGIN
	    "=sys/kernel/hostname a\033[31mb c\n=meminfo\nMemTotal: 10 kB\nMemFree: 1 kB\nBuffers: 2 kB\n"
	    "Cached: 3 kB\nSReclaimable: 9 kB\n" END);
	is_str(a.last.name, "a?[31mb", "nothing that a terminal would obey");
	is_int(a.last.free_bytes, 6 * 1024, "an old kernel: what is free or a cache");
	hosts_answer_reset(&a);
	is_int(a.samples, 0, "nothing came yet");
	for (int i = 0; i < 100000; i++)
		put(&a, i == 0 ? BEGIN : "=/sys/block/sdabcdefgh/device\n");
	ok(a.hardware_size <= HARDWARE_MAX, "names of devices are bounded");
	hosts_answer_done(&a);
}

static void
is_error(const char *text, const char *want)
{
	char got[32];

	hosts_error_shorten(text, 255, got, sizeof(got));
	is_str(got, want, "%s", text);
}

static void
test_errors(void)
{
	is_error("a@b: Permission denied (publickey).\r\n", "Permission denied");
	is_error("banner\nssh: connect to host x port 22: Connection refused\r\n", "Connection refused");
	is_error("one\n  two. \n\n", "two");
	is_error("\033[2J", "\\x1B[2J");
	is_error("a line that is longer than there is room for", "a line that is longer than ");
	is_error("\n \n", "no statistics: its command ende");
}

int
main(void)
{
	test_sample();
	test_rates();
	test_devices();
	test_broken();
	test_errors();
	return done_testing();
}
