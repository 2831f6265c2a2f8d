/* SPDX-License-Identifier: MIT */
/* Plugins that cannot be used, each for its own reason; knee_plugin is missing. */
#include <knee.h>

static int
run(void *state, struct knee_call *call)
{
	(void)state;
	(void)call;
	return 0;
}

static int
combine(void *state, struct knee_bytes *whole, const struct knee_bytes *part)
{
	(void)state;
	(void)whole;
	(void)part;
	return 0;
}

const struct knee_plugin other_abi = {
	.abi = KNEE_PLUGIN_ABI + 1, .size = sizeof(struct knee_plugin), .run = run
};
const struct knee_plugin small = { .abi = KNEE_PLUGIN_ABI, .size = 8, .run = run };
const struct knee_plugin idle = { .abi = KNEE_PLUGIN_ABI, .size = sizeof(struct knee_plugin) };
const struct knee_plugin mute = {
	.abi = KNEE_PLUGIN_ABI,
	.size = sizeof(struct knee_plugin),
	.run = run,
	.combine = combine,
};
