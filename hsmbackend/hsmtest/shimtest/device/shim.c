// The module itself: it loads a copy of SoftHSM2 of its own and answers C_GetFunctionList with SoftHSM2's functions,
// of which the active behaviours have replaced some. Every key is an object of SoftHSM2, and so is every session.
//
// ANTIPODE_SHIM_MODULE is the path of libsofthsm2.so, ANTIPODE_SHIM the names of the behaviours, with commas between.
// Both are read by C_Initialize, each time that it succeeds, as SoftHSM2 itself reads SOFTHSM2_CONF.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim.h"

const behaviour *const behaviours[] = {
	&sp800_108, &sp800_108_wrong, &gcm_iv, &gcm_iv_stuck, &gcm_short, &no_gcm, &no_ecb_derive, &no_oaep, &x963, &no_create,
	&post_quantum,
	NULL,
};

functions *softhsm;

static functions list;
static char wanted[512];
static void *library;
static int file = -1;

int active(const behaviour *b)
{
	size_t n = strlen(b->name);
	for (const char *p = wanted; (p = strstr(p, b->name)) != NULL; p += n)
		if ((p == wanted || p[-1] == ',') && (p[n] == 0 || p[n] == ','))
			return 1;
	return 0;
}

// known reports whether every wanted name is that of a behaviour: a test must not run on a device it did not ask for.
static int known(void)
{
	char copy[sizeof wanted], *rest = copy;
	strcpy(copy, wanted);
	for (char *name; (name = strsep(&rest, ",")) != NULL;) {
		const behaviour *const *b = behaviours;
		while (*b != NULL && strcmp((*b)->name, name) != 0)
			b++;
		if (*b == NULL && *name != 0) {
			fprintf(stderr, "shim: no behaviour is called %s\n", name);
			return 0;
		}
	}
	return 1;
}

// copy_library puts the library into a memory file, so that it shares no globals with other copies in the process.
static int copy_library(const char *path)
{
	char buffer[65536];
	int in = open(path, O_RDONLY | O_CLOEXEC), out = memfd_create("softhsm2", MFD_CLOEXEC);
	ssize_t n = -1;
	while (in >= 0 && out >= 0 && (n = read(in, buffer, sizeof buffer)) > 0)
		if (write(out, buffer, (size_t)n) != n) {
			n = -1;
			break;
		}
	if (in >= 0)
		close(in);
	if (n != 0 && out >= 0) {
		close(out);
		out = -1;
	}
	return out;
}

static rv_t load(void)
{
	const char *path = getenv("ANTIPODE_SHIM_MODULE");
	char name[64];
	get_function_list_fn get;
	if (path == NULL || (file = copy_library(path)) < 0) {
		fprintf(stderr, "shim: ANTIPODE_SHIM_MODULE can't be read: %s\n", path == NULL ? "(not set)" : path);
		return CKR_GENERAL_ERROR;
	}
	// The file stays open: the loader knows libraries by name too, and a closed number is given out again.
	snprintf(name, sizeof name, "/proc/self/fd/%d", file);
	library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL || (*(void **)&get = dlsym(library, "C_GetFunctionList")) == NULL || get(&softhsm) != CKR_OK) {
		fprintf(stderr, "shim: %s\n", dlerror());
		softhsm = NULL;
		return CKR_GENERAL_ERROR;
	}
	return CKR_OK;
}

static rv_t initialize(void *args)
{
	const char *names = getenv("ANTIPODE_SHIM");
	if (softhsm == NULL) {
		rv_t rv = load();
		if (rv != CKR_OK)
			return rv;
	}
	rv_t rv = ((initialize_fn)softhsm->f[F_Initialize])(args);
	if (rv != CKR_OK)
		return rv; // CKR_CRYPTOKI_ALREADY_INITIALIZED too: the list is in use
	snprintf(wanted, sizeof wanted, "%s", names == NULL ? "" : names);
	if (!known()) {
		((initialize_fn)softhsm->f[F_Initialize + 1])(NULL); // C_Finalize
		return CKR_GENERAL_ERROR;
	}
	void *first = list.f[F_Initialize], *third = list.f[F_GetFunctionList];
	memcpy(list.f, softhsm->f, sizeof list.f);
	list.f[F_Initialize] = first;
	list.f[F_GetFunctionList] = third;
	for (const behaviour *const *b = behaviours; *b != NULL; b++)
		if (active(*b) && (*b)->install != NULL)
			(*b)->install(&list);
	install_mechanisms(&list);
	return CKR_OK;
}

static rv_t not_initialized(void) { return CKR_CRYPTOKI_NOT_INITIALIZED; }

__attribute__((visibility("default"))) rv_t C_GetFunctionList(functions **out)
{
	if (out == NULL)
		return CKR_ARGUMENTS_BAD;
	if (list.f[F_Initialize] == NULL) {
		list.version[0] = 2;
		list.version[1] = 40;
		for (int i = 0; i < F_count; i++)
			list.f[i] = (void *)not_initialized;
		list.f[F_Initialize] = (void *)initialize;
		list.f[F_GetFunctionList] = (void *)C_GetFunctionList;
	}
	*out = &list;
	return CKR_OK;
}

__attribute__((destructor)) static void unload(void)
{
	if (library != NULL)
		dlclose(library);
	if (file >= 0)
		close(file);
}
