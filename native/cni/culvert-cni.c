/*
 * culvert-cni: the last plugin of a node's CNI chain. It changes nothing in a pod; it makes the runtime wait until the
 * node's agent has enrolled a new pod that belongs to the mesh, so that the pod's first packet is protected.
 *
 * Where no agent answers, a pod of a namespace that the agent has written into a file is refused, and the kubelet tries
 * again; every other pod starts as if there were no mesh. CNI specification 0.3.1 to 1.1.0. Static, no allocation.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "json.h"

#define INPUT_LIMIT (1 << 20)
#define VARIABLE_LIMIT 4096
#define DEFAULT_SOCKET "/run/culvert/cni.sock"
#define DEFAULT_NAMESPACES "/etc/cni/net.d/culvert-enrolled-namespaces"
#define DEFAULT_TIMEOUT_MS 30000
#define LONGEST_TIMEOUT_MS 110000 /* below the two minutes after which kubelets give up */
#define INPUT_TIMEOUT_MS 5000
#define FAREWELL_TIMEOUT_MS 2000

/* Codes of the specification. */
enum {
	INCOMPATIBLE_VERSION = 1,
	BAD_ENVIRONMENT = 4,
	IO_FAILED = 5,
	BAD_INPUT = 6,
	BAD_CONFIG = 7,
	TRY_AGAIN = 11,
};

enum { CNI_VERSION, PREV_RESULT, SOCKET, NAMESPACES, TIMEOUT, MEMBERS };
static const char *const member_names[MEMBERS] = { "cniVersion", "prevResult", "socket", "enrolledNamespaces",
						   "timeoutMs" };

static const char *const versions[] = { "0.3.1", "0.4.0", "1.0.0", "1.1.0" };
#define VERSIONS (sizeof(versions) / sizeof(*versions))

struct config {
	char version[16];
	char socket[VARIABLE_LIMIT];
	char namespaces[VARIABLE_LIMIT];
	unsigned long timeout_ms;
	struct span previous;
};

static char input[INPUT_LIMIT];

static void print_quoted(const char *text)
{
	putchar('"');
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\')
			printf("\\%c", *c);
		else if (*c < 0x20)
			printf("\\u%04x", *c);
		else
			putchar(*c);
	}
	putchar('"');
}

/* As the specification wants a failure told; never comes back. */
static _Noreturn void fail(const char *version, unsigned long code, const char *message, const char *details)
{
	printf("{\"cniVersion\":");
	print_quoted(version);
	printf(",\"code\":%lu,\"msg\":", code);
	print_quoted(message);
	printf(",\"details\":");
	print_quoted(details);
	puts("}");
	fflush(stdout);
	exit(1);
}

static int print_versions(void)
{
	printf("{\"cniVersion\":\"%s\",\"supportedVersions\":[", versions[VERSIONS - 1]);
	for (size_t i = 0; i < VERSIONS; i++)
		printf("%s\"%s\"", i ? "," : "", versions[i]);
	puts("]}");
	return 0;
}

/* Position among the versions we know; -1 where it is none. */
static int version_index(const char *version)
{
	for (size_t i = 0; i < VERSIONS; i++)
		if (strcmp(version, versions[i]) == 0)
			return (int)i;
	return -1;
}

/* Reads standard input to its end. Returns what is wrong, or 0. */
static const char *read_input(struct span *text)
{
	int64_t deadline = now_ms() + INPUT_TIMEOUT_MS;
	size_t used = 0;

	for (;;) {
		ssize_t got;

		if (!wait_for(STDIN_FILENO, POLLIN, deadline))
			return "the network configuration did not come to an end";
		if (used == sizeof(input))
			return "the network configuration is longer than 1 MiB";
		got = read(STDIN_FILENO, input + used, sizeof(input) - used);
		if (got < 0 && errno != EINTR && errno != EAGAIN)
			return strerror(errno);
		if (got == 0)
			break;
		if (got > 0)
			used += (size_t)got;
	}
	*text = (struct span){ input, used };
	return 0;
}

/* A member that is absent has its default. Returns what is wrong, or 0. */
static const char *read_config(struct span text, struct config *config)
{
	struct span members[MEMBERS];

	*config = (struct config){ .version = "1.1.0",
				   .socket = DEFAULT_SOCKET,
				   .namespaces = DEFAULT_NAMESPACES,
				   .timeout_ms = DEFAULT_TIMEOUT_MS };
	if (!json_members(text, member_names, members, MEMBERS))
		return "the network configuration is no JSON object";
	if (members[SOCKET].at && !json_string(members[SOCKET], config->socket, sizeof(config->socket)))
		return "`socket` is not the path of a socket";
	if (members[NAMESPACES].at &&
	    !json_string(members[NAMESPACES], config->namespaces, sizeof(config->namespaces)))
		return "`enrolledNamespaces` is not the path of a file";
	if (members[TIMEOUT].at && !json_number(members[TIMEOUT], LONGEST_TIMEOUT_MS, &config->timeout_ms))
		return "`timeoutMs` is not a number up to 110000";
	/* A configuration without a version is one of 0.1.0. */
	if (!members[CNI_VERSION].at)
		strcpy(config->version, "0.1.0");
	else if (!json_string(members[CNI_VERSION], config->version, sizeof(config->version)))
		return "`cniVersion` is not a version";
	if (members[PREV_RESULT].at && *members[PREV_RESULT].at == '{')
		config->previous = members[PREV_RESULT];
	return 0;
}

static struct span variable(const char *name)
{
	const char *value = getenv(name);

	return value ? (struct span){ value, strlen(value) } : (struct span){ "", 0 };
}

/* The value of a key in CNI_ARGS, `K=V;K=V`. */
static struct span argument(struct span arguments, const char *key)
{
	size_t length = strlen(key);
	const char *at = arguments.at, *end = at + arguments.length;

	while (at < end) {
		const char *stop = memchr(at, ';', (size_t)(end - at));

		if (!stop)
			stop = end;
		if ((size_t)(stop - at) > length && memcmp(at, key, length) == 0 && at[length] == '=')
			return (struct span){ at + length + 1, (size_t)(stop - at) - length - 1 };
		at = stop < end ? stop + 1 : end;
	}
	return (struct span){ "", 0 };
}

/* Whether a line of the file is this namespace. A file that can't be read, other than none, is taken for one that has it. */
static bool is_enrolled(const char *path, struct span namespace)
{
	char line[512];
	bool found = false;
	FILE *file;

	if (namespace.length == 0)
		return false;
	file = fopen(path, "re");
	if (!file)
		return errno != ENOENT && errno != ENOTDIR;
	while (!found && fgets(line, sizeof(line), file)) {
		size_t length = strcspn(line, "\r\n");

		found = length == namespace.length && memcmp(line, namespace.at, length) == 0;
	}
	found = found || ferror(file);
	fclose(file);
	return found;
}

/* Asks whether the pod may start; comes back when it may. */
static void ask(const char *command, struct span text, const struct config *config)
{
	struct span arguments = variable("CNI_ARGS");
	struct span fields[AGENT_FIELDS] = {
		{ "1", 1 },
		{ command, strlen(command) },
		variable("CNI_CONTAINERID"),
		variable("CNI_NETNS"),
		variable("CNI_IFNAME"),
		arguments,
		text,
	};
	struct answer answer = { 0 };
	const char *why = "";
	char details[VARIABLE_LIMIT + 256];

	if (ask_agent(config->socket, fields, now_ms() + (int64_t)config->timeout_ms, &answer, &why)) {
		if (answer.code != 0)
			fail(config->version, answer.code, answer.message, answer.details);
		return;
	}
	if (!is_enrolled(config->namespaces, argument(arguments, "K8S_POD_NAMESPACE")))
		return;
	snprintf(details, sizeof(details), "%s: %s", config->socket, why);
	fail(config->version, TRY_AGAIN,
	     "the pod's namespace is in the mesh, and the culvert agent of this node does not answer", details);
}

/* Says goodbye. Nothing can be wrong here that would help anybody to know. */
static int remove_pod(void)
{
	struct config config;
	struct span text;
	struct answer answer;
	const char *why;

	if (read_input(&text) || read_config(text, &config))
		return 0;
	if (config.timeout_ms > FAREWELL_TIMEOUT_MS)
		config.timeout_ms = FAREWELL_TIMEOUT_MS;
	ask_agent(config.socket,
		  (struct span[AGENT_FIELDS]){ { "1", 1 },
					       { "DEL", 3 },
					       variable("CNI_CONTAINERID"),
					       variable("CNI_NETNS"),
					       variable("CNI_IFNAME"),
					       variable("CNI_ARGS"),
					       text },
		  now_ms() + (int64_t)config.timeout_ms, &answer, &why);
	return 0;
}

static void check_environment(const char *version)
{
	static const char *const needed[] = { "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME" };
	static const char *const all[] = { "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS" };

	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++)
		if (variable(needed[i]).length == 0)
			fail(version, BAD_ENVIRONMENT, "a variable is missing", needed[i]);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (variable(all[i]).length > VARIABLE_LIMIT)
			fail(version, BAD_ENVIRONMENT, "a variable is longer than 4096 bytes", all[i]);
}

/* Every command that has a network configuration and can fail. `since` is the version that brought the command. */
static void prepare(const char *command, const char *since, struct span *text, struct config *config)
{
	const char *wrong = read_input(text);

	if (wrong)
		fail("1.1.0", IO_FAILED, wrong, "");
	wrong = read_config(*text, config);
	if (wrong)
		fail("1.1.0", BAD_INPUT, wrong, "");
	if (version_index(config->version) < version_index(since))
		fail(version_index(config->version) < 0 ? "1.1.0" : config->version, INCOMPATIBLE_VERSION,
		     "this version of the CNI specification is not supported for the command", command);
}

static int add(void)
{
	struct span text;
	struct config config;

	prepare("ADD", "0.3.1", &text, &config);
	check_environment(config.version);
	if (!config.previous.at)
		fail(config.version, BAD_CONFIG, "culvert-cni must come after a plugin that makes an interface",
		     "the network configuration has no prevResult");
	ask("ADD", text, &config);
	fwrite(config.previous.at, 1, config.previous.length, stdout);
	putchar('\n');
	if (fflush(stdout) != 0)
		return 1;
	return 0;
}

static int check(void)
{
	struct span text;
	struct config config;

	prepare("CHECK", "0.4.0", &text, &config);
	check_environment(config.version);
	ask("CHECK", text, &config);
	return 0;
}

/* Pods that are not of the mesh can always be added, so there is nothing that a node should wait for. */
static int succeed(const char *command)
{
	struct span text;
	struct config config;

	prepare(command, "1.1.0", &text, &config);
	return 0;
}

int main(void)
{
	const char *command = getenv("CNI_COMMAND");

	if (!command)
		fail("1.1.0", BAD_ENVIRONMENT, "culvert-cni is a CNI plugin, which a container runtime starts",
		     "CNI_COMMAND is missing");
	if (strcmp(command, "ADD") == 0)
		return add();
	if (strcmp(command, "DEL") == 0)
		return remove_pod();
	if (strcmp(command, "CHECK") == 0)
		return check();
	if (strcmp(command, "VERSION") == 0)
		return print_versions();
	if (strcmp(command, "GC") == 0 || strcmp(command, "STATUS") == 0)
		return succeed(command);
	fail("1.1.0", BAD_ENVIRONMENT, "no such command", command);
}
